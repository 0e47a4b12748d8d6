"""List and read the files of a data set, in a folder or in an object store."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from datagen.common.errors import UserError

_TRIES = 3  # an object store sometimes answers 500 or 503


@dataclass(frozen=True)
class Store:
    """The files below one root.

    Attributes:
        filesystem: pyarrow file system that holds the data set.
        root: path of the data set in the file system.
        uri: what the user wrote, for messages.
    """

    filesystem: pafs.FileSystem
    root: str
    uri: str

    @classmethod
    def open(cls, where: str | Path) -> Store:
        """Open a path or a URI: `s3://`, `gs://` and `hdfs://` through pyarrow, others through fsspec.

        Raises:
            UserError: the URI is not understood or its package is missing.
        """
        uri = str(where)
        if "://" not in uri:
            return cls(pafs.LocalFileSystem(), str(Path(uri).expanduser().absolute()), uri)
        try:
            native, root = pafs.FileSystem.from_uri(uri)
            return cls(native, root, uri)
        except (pa.ArrowException, OSError):
            pass  # pyarrow does not know this scheme
        try:
            filesystem, root = fsspec.core.url_to_fs(uri)
        except (ValueError, ImportError, OSError) as error:
            raise UserError(f"cannot open {uri}: {error}", code=2) from error
        return cls(pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), root, uri)

    def path(self, *parts: str) -> str:
        """Path of a file in the file system.

        Raises:
            UserError: a name is empty or points outside the data set; names may come from an index that others wrote.
        """
        for part in parts:
            if not part:
                raise UserError(f"a row of {self.uri} names no file; `verify` lists all faults")
            if part.startswith("/") or "\\" in part or "\0" in part or ".." in part.split("/"):
                raise UserError(
                    f"{self.uri} names a file outside itself: {part!r}; do not trust this data set"
                )
        return "/".join((self.root.rstrip("/"), *parts))

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    def names(self, folder: str) -> list[str]:
        """Sorted names of the files in a folder, without subfolders; empty if the folder does not exist."""
        try:
            if self.is_local:  # pyarrow would call stat for every file
                with os.scandir(self.path(folder)) as found:
                    return sorted(entry.name for entry in found if entry.is_file())
            selector = pafs.FileSelector(self.path(folder), allow_not_found=True)
            entries = self.filesystem.get_file_info(selector)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"cannot list {folder} of {self.uri}: {error}") from error
        return sorted(entry.base_name for entry in entries if entry.type == pafs.FileType.File)

    def read(self, *parts: str, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes of a file, or `size` bytes at `offset` with one range read.

        Raises:
            UserError: the file is missing, too short, or cannot be read after a few tries.
        """
        path = self.path(*parts)
        for attempt in range(1, _TRIES + 1):
            try:
                with self.filesystem.open_input_file(path) as file:
                    data: bytes = file.read() if size is None else file.read_at(size, offset)
                break
            except FileNotFoundError as error:
                raise UserError(
                    f"{'/'.join(parts)} is missing in {self.uri}; `verify` lists all faults"
                ) from error
            except OSError as error:
                if attempt == _TRIES or self.is_local:
                    raise UserError(f"cannot read {'/'.join(parts)} of {self.uri}: {error}") from error
                time.sleep(0.5 * attempt)
        if size is not None and len(data) != size:
            raise UserError(f"{'/'.join(parts)} of {self.uri} is cut short; `verify` lists all faults")
        return data

    def table(self, folder: str, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A Parquet file as a table.

        Raises:
            UserError: the file cannot be read.
        """
        try:
            data = pa.BufferReader(self.read(folder, name))
            # Read without a thread pool: if a pool thread still holds Python bytes when the interpreter exits, the
            # process aborts (seen in 6 of 100 short programs with `read_table`).
            file = pq.ParquetFile(data, page_checksum_verification=True)
            return file.read(columns and list(columns), use_threads=False)
        except (pa.ArrowException, OSError, ValueError) as error:  # also column names that are not UTF-8
            reason = " ".join(str(error).split())
            raise UserError(f"{folder}/{name} of {self.uri} cannot be read: {reason}") from error
