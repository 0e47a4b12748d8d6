"""Extract members of archives, one at a time.

An extracted file never lies outside the given folder and is never larger than the archive states.
"""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from datagen.common.errors import Refusal
from datagen.common.text import shown
from datagen.sources.manifest import VIDEO_SUFFIXES

_CHUNK = 1 << 20
_RESERVE = 0.05  # share of the scratch disk that is kept free ...
_RESERVE_BYTES = 1 << 30  # ... but not more than this
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, EOFError, KeyError, ValueError, RuntimeError, OverflowError),
    *(NotImplementedError, zlib.error, lzma.LZMAError, struct.error),
)


@contextmanager
def extracted(path: bytes, member: str, scratch: Path) -> Iterator[tuple[Path, str | None]]:
    """Path of a file to decode: the file itself, or the archive member, extracted until the block ends.

    Yields the path and, for an archive member, its sha256 (else None).
    """
    plain = Path(os.fsdecode(path))
    if not member:
        yield plain, None
        return
    scratch.mkdir(parents=True, exist_ok=True)
    ending = PurePosixPath(member).suffix.lower()
    descriptor, name = tempfile.mkstemp(ending if ending in VIDEO_SUFFIXES else "", "member-", scratch)
    try:
        with open(descriptor, "wb") as copy, _member(plain, member) as (stream, size):
            digest = _copy(stream, size, copy, scratch)
        yield Path(name), digest
    finally:
        Path(name).unlink(missing_ok=True)


def _copy(stream: IO[bytes], size: int, copy: IO[bytes], scratch: Path) -> str:
    """Copy a member of `size` bytes, never more, and return its sha256."""
    disk = shutil.disk_usage(scratch)
    room = disk.free - min(_RESERVE_BYTES, int(_RESERVE * disk.total))
    if size > room:
        raise Refusal(
            "too_large",
            f"the member unpacks to {size} bytes, more than the disk for temporary files has room for",
            "unpack the archive, or put --output on a larger disk",
            measure="bytes",
            value=float(size),
            limit=float(max(room, 0)),
        )
    digest = hashlib.sha256()
    left = size
    while left:
        with _damage():
            data = stream.read(min(_CHUNK, left))
        if not data:
            raise Refusal("damaged", f"the member ends {left} bytes before its stated size of {size}")
        copy.write(data)
        digest.update(data)
        left -= len(data)
    with _damage():
        more = stream.read(1)  # zipfile checks the checksum only at the end
    if more:
        raise Refusal("damaged", f"the member is longer than its stated size of {size} bytes")
    return digest.hexdigest()


@contextmanager
def _damage() -> Iterator[None]:
    """Turn the errors that archive libraries raise on damaged files into a refusal."""
    try:
        yield
    except Refusal:
        raise
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # how bz2 and gzip report damaged data
            raise Refusal("damaged", "the member cannot be read from its archive") from error
        raise unreadable(error) from error
    except _DAMAGE as error:
        raise Refusal(
            "damaged", f"the member cannot be read from its archive ({type(error).__name__})"
        ) from error


@contextmanager
def _member(archive: Path, member: str) -> Iterator[tuple[IO[bytes], int]]:
    """Stream and size of the first member with this name."""
    opened: zipfile.ZipFile | tarfile.TarFile
    with _damage():
        zipped = archive.name.lower().endswith(".zip")
        opened = zipfile.ZipFile(archive) if zipped else tarfile.open(archive, errors="surrogateescape")  # noqa: SIM115 - closed below
    with opened:
        with _damage():
            stream, size = _find(opened, member)
        with stream:
            yield stream, size


def _find(opened: zipfile.ZipFile | tarfile.TarFile, member: str) -> tuple[IO[bytes], int]:
    if isinstance(opened, zipfile.ZipFile):
        entry = next((item for item in opened.infolist() if shown(item.filename) == member), None)
        if entry is None:
            raise KeyError(member)
        _require_safe(entry.filename)
        if (entry.external_attr >> 16) & 0o170000 == 0o120000:
            raise Refusal("unsafe_member", "the member is a link", "repack the archive with real files")
        return opened.open(entry), entry.file_size
    item = next((item for item in opened if shown(item.name) == member), None)
    if item is None:
        raise KeyError(member)
    _require_safe(item.name)
    content = opened.extractfile(item) if item.isfile() else None
    if content is None:
        raise Refusal(
            "unsafe_member", "the member is a link or a device", "repack the archive with real files"
        )
    return content, item.size


def _require_safe(name: str) -> None:
    if name.startswith(("/", "\\")) or ".." in PurePosixPath(name).parts or "\\" in name or name[1:2] == ":":
        raise Refusal("unsafe_member", "the member's name points outside the archive", "repack the archive")


def unreadable(error: OSError) -> Refusal:
    """The refusal of a source that the operating system cannot read."""
    return Refusal("unreadable", f"the source file cannot be read: {error.strerror}", "mend it and retry")
