"""Publish finished files: complete, synced, under the final name in one step, without replacing another file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from datagen.common.errors import UserError
from datagen.output.schema import TABLES, schema_of
from datagen.output.temporary import temporary

CHECKED = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)
"""Format for `pyarrow.dataset`: it checks the checksum of each page, so that a flipped bit is an error."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn a full disk or quota while writing to `folder` into a `UserError` that names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        what = "quota" if error.errno == errno.EDQUOT else "disk"
        raise UserError(
            f"the {what} of {folder} is full; free some space and run the same command again: "
            "it continues where it stopped"
        ) from error


@contextmanager
def scratch(tmp: Path, name: str) -> Iterator[Path]:
    """A path under `tmp` for one file; deleted after the block, unless it was published."""
    path = temporary(tmp, name)
    try:
        with disk_errors(tmp):
            yield path
    finally:
        path.unlink(missing_ok=True)


def publish(tmp: Path, final: Path) -> bool:
    """Rename the finished file `tmp` to `final`, unless `final` exists; `tmp` no longer exists afterwards.

    File and folder are synced. On a file system without hard links a plain rename is used: two writers at the same
    moment may then replace each other's file, which is harmless since both hold the same bytes.

    Returns:
        Whether this call published the file; False if `final` existed before.
    """
    with disk_errors(final.parent):
        _sync(tmp)
        published = _link(tmp, final)
        tmp.unlink(missing_ok=True)
        _sync(final.parent)
    return published


def replace(data: bytes, final: Path, tmp: Path) -> None:
    """Write a file that may change, such as a status; readers see the old or the new version, never a mixture."""
    with scratch(tmp, final.name) as path:
        path.write_bytes(data)
        os.replace(path, final)


def write_bytes(data: bytes, final: Path, tmp: Path) -> bool:
    """Publish `data` as `final`; see `publish`."""
    with scratch(tmp, final.name) as path:
        path.write_bytes(data)
        return publish(path, final)


Put = Callable[[Path, Path], bool]
"""Moves a finished temporary file to its final name: `publish` or `exchange`."""


def exchange(tmp: Path, final: Path) -> bool:
    """Rename the finished file `tmp` to `final` and replace an existing file, atomically."""
    with disk_errors(final.parent):
        _sync(tmp)
        os.replace(tmp, final)
        _sync(final.parent)
    return True


def write_table(table: pa.Table, final: Path, tmp: Path, put: Put = publish) -> bool:
    """Publish `table` as a Parquet file whose bytes depend only on its rows and schema; see `publish`."""
    with scratch(tmp, final.name) as path:
        save_table(table, path)
        return put(path, final)


def save_table(table: pa.Table, file: Path | pa.NativeFile) -> None:
    """Write Parquet with checksums, without pandas metadata and times; the row groups do not depend on the chunks."""
    pq.write_table(
        table.replace_schema_metadata(None).combine_chunks(),
        file,
        compression="zstd",
        row_group_size=65_536,
        version="2.6",
        write_page_checksum=True,
    )


def read_table(path: Path, columns: list[str] | None = None, *, schema: pa.Schema | None = None) -> pa.Table:
    """Read a Parquet file of an output and check its page checksums.

    Args:
        path: the file.
        columns: columns to read; default all.
        schema: columns that the file must have, in any order; they are returned in this order.

    Raises:
        UserError: the file is missing, damaged or has other columns.
    """
    wanted = columns if columns is not None or schema is None else schema.names
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(wanted, use_threads=False)
        if wanted is not None and (lacking := [name for name in wanted if name not in table.column_names]):
            raise UserError(f"{path} has no column {lacking[0]!r}; it was written by another version")
        return table if schema is None or columns is not None else table.select(schema.names).cast(schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read: {reason}; `verify` lists all faults") from error


def packed_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows with `embedding` and `frame_hashes` as arrays, which take a tenth of the memory of Python lists."""
    lists = [name for name in ("embedding", "frame_hashes") if name in table.column_names]
    rows: list[dict[str, Any]] = table.drop_columns(lists).to_pylist()
    for name in lists:
        for row, value in zip(rows, table[name], strict=True):
            row[name] = None if value.values is None else value.values.to_numpy(zero_copy_only=False)
    return rows


def read_tables(
    folder: Path, columns: list[str] | None = None, *, schema: pa.Schema | None = None
) -> pa.Table:
    """All Parquet files of a folder as one table, in the order of their names; empty if there are none.

    Args:
        folder: `plan`, `clips`, `index` or `failures` of an output.
        columns: columns to read; default all.
        schema: default is the schema of the folder's table; columns that a file lacks are null.
    """
    schema = schema or schema_of(TABLES[folder.name])
    files = sorted(str(path) for path in folder.glob("*.parquet")) if folder.is_dir() else []
    if not files:
        empty = schema.empty_table()
        return empty if columns is None else empty.select(columns)
    try:
        return ds.dataset(files, schema=schema, format=CHECKED).to_table(columns=columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"cannot read the tables of {folder}: {error}; `verify` says which file") from error


def _link(tmp: Path, final: Path) -> bool:
    try:
        os.link(tmp, final)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if final.exists():
            return False
        tmp.rename(final)
    return True


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk; folders that cannot be synced (some network mounts) are ignored."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP} or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
