"""Make a finished file appear under its final name at once, whole, synced, and without replacing another."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from datagen.errors import UserError
from datagen.layout import temporary
from datagen.schema import TABLES, schema_of

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
            f"the {what} of {folder} is full; free some space and run the same command again, "
            "it goes on where it stopped"
        ) from error


@contextmanager
def scratch(tmp: Path, name: str) -> Iterator[Path]:
    """A path under `tmp` for one file, gone at the end whether or not it was published."""
    path = temporary(tmp, name)
    try:
        with disk_errors(tmp):
            yield path
    finally:
        path.unlink(missing_ok=True)


def publish(tmp: Path, final: Path) -> bool:
    """Give the finished file `tmp` the name `final` unless that name is taken; `tmp` is gone afterwards.

    File and folder are synced. Where the file system has no hard links a rename is used: two writers at the
    same instant may then replace each other's file, which is harmless since both hold the same bytes.

    Returns:
        Whether this call published the file; False when `final` was there before.
    """
    with disk_errors(final.parent):
        _sync(tmp)
        published = _link(tmp, final)
        tmp.unlink(missing_ok=True)
        _sync(final.parent)
    return published


def replace(data: bytes, final: Path, tmp: Path) -> None:
    """Write a file that may change, such as a status, so that readers see the old or the new one whole."""
    with scratch(tmp, final.name) as path:
        path.write_bytes(data)
        os.replace(path, final)


def write_bytes(data: bytes, final: Path, tmp: Path) -> bool:
    """Publish `data` as `final`; see `publish`."""
    with scratch(tmp, final.name) as path:
        path.write_bytes(data)
        return publish(path, final)


def write_table(table: pa.Table, final: Path, tmp: Path) -> bool:
    """Publish `table` as a Parquet file whose bytes depend on its rows and schema alone; see `publish`."""
    with scratch(tmp, final.name) as path:
        save_table(table, path)
        return publish(path, final)


def save_table(table: pa.Table, file: Path | pa.NativeFile) -> None:
    """Write Parquet with checksums: no pandas metadata, no times, the same row groups whatever the chunks."""
    pq.write_table(
        table.replace_schema_metadata(None).combine_chunks(),
        file,
        compression="zstd",
        row_group_size=65_536,
        version="2.6",
        write_page_checksum=True,
    )


def read_tables(
    folder: Path, columns: list[str] | None = None, *, schema: pa.Schema | None = None
) -> pa.Table:
    """All Parquet files of a folder as one table, in the order of their names; empty where there are none.

    Args:
        folder: `plan`, `clips`, `index` or `failures` of an output.
        columns: those to read, default all.
        schema: default that of the folder's name; columns a file lacks are null.
    """
    schema = schema or schema_of(TABLES[folder.name])
    files = sorted(str(path) for path in folder.glob("*.parquet")) if folder.is_dir() else []
    if not files:
        empty = schema.empty_table()
        return empty if columns is None else empty.select(columns)
    try:
        return ds.dataset(files, schema=schema, format="parquet").to_table(columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"cannot read the tables of {folder}: {error}; `verify` tells which file") from error


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
    """Flush a file or folder to the disk; folders that cannot be synced (some network mounts) are let be."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP} or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
