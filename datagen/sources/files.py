"""Open planned source videos: a real file to decode, with the sha256 of its bytes."""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from datagen.common.errors import Refusal, UserError
from datagen.common.text import shown
from datagen.sources.manifest import VIDEO_SUFFIXES

_CHUNK = 1 << 20
_RESERVE = 0.05  # share of the scratch disk that no archive member may take,
_RESERVE_BYTES = 1 << 30  # at most this
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, EOFError, KeyError, ValueError, RuntimeError, OverflowError),
    *(NotImplementedError, zlib.error, lzma.LZMAError, struct.error),
)


@dataclass(frozen=True)
class Opened:
    """A source that can be decoded now.

    Attributes:
        path: the source itself, or a copy of the archive member.
        sha256: of its bytes.
    """

    path: Path
    sha256: str


class SourceFiles:
    """Opens planned sources; one per worker process, so that each source is hashed once in it."""

    def __init__(self, roots: Mapping[str, Path]) -> None:
        """Args:
        roots: name of each root in the plan -> absolute folder that its paths start from.
        """
        self._roots = roots
        self._hashes: dict[tuple[bytes, int, int, int, int], str] = {}

    @contextmanager
    def open(self, row: Mapping[str, Any], scratch: Path, sha256: str | None = None) -> Iterator[Opened]:
        """The source of a plan row, checked to be the one that is expected, before and after its use.

        Args:
            row: `root`, `path` (below the root, bytes) and `member`.
            scratch: folder for a copy of an archive member.
            sha256: what it must be; None for a source that nobody has read before.

        Raises:
            Refusal: `changed`, or what `local_file` raises.
            UserError: the whole root is not there, also when that shows only while the source is used.
        """
        if row["root"] not in self._roots:
            raise UserError(f"nobody said where root {row['root']!r} lies; give it with --root")
        root = self._roots[row["root"]]
        path = os.path.join(os.fsencode(root), row["path"])
        try:
            before = _state(path)
            with _local(path, row["member"], scratch) as (local, copied):
                found = copied or self._hashes.get(before)
                if found is None:
                    found = self._hashes[before] = _plain_sha256(local)
                if sha256 is not None and found != sha256:
                    raise Refusal(
                        "changed",
                        f"the source has sha256 {found[:16]}..., but {sha256[:16]}... was curated",
                        "put the former file back, or use a new --output",
                    )
                try:
                    yield Opened(local, found)
                except Exception:  # what came out is not the source's fault if it was replaced meanwhile
                    _require_same(path, before)
                    raise
                _require_same(path, before)
        except UserError:
            raise
        except Exception:
            require_root(root)
            raise


def require_root(root: Path) -> None:
    """Check that the footage is there, before work begins and when a source is missing.

    Raises:
        UserError: the root does not exist, cannot be read, or is an empty folder, such as one nothing is mounted on.
    """
    again = "check the path, or mount it and run the same command again"
    try:
        if not root.exists():
            raise UserError(f"the footage at {root} does not exist; {again}")
        if root.is_dir():
            with os.scandir(root) as entries:
                if next(entries, None) is None:
                    raise UserError(f"the footage at {root} is an empty folder; {again}")
        else:
            with root.open("rb"):
                pass
    except OSError as error:
        raise UserError(f"the footage at {root} cannot be read ({error.strerror}); {again}") from error


@contextmanager
def local_file(path: bytes, member: str, scratch: Path, root: Path | None = None) -> Iterator[Path]:
    """A real file to decode: the source itself, or the archive member copied to `scratch` for the time being.

    The copy's name never comes from the archive, so no member can escape.

    Args:
        path: absolute, as the file system spells it.
        member: name inside the archive as listed, empty for plain files.
        root: where a missing file must not be blamed on the file, if the whole root is gone.

    Raises:
        Refusal: the file is gone, the member is unsafe, damaged, or `too_large` for the disk of `scratch`.
        UserError: the root is not there.
    """
    try:
        _state(path)
    except Refusal:
        if root is not None:
            require_root(root)
        raise
    with _local(path, member, scratch) as (local, _):
        yield local


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _state(path: bytes) -> tuple[bytes, int, int, int, int]:
    """What changes with a file's content; cheap to ask for."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Refusal("unreadable", "the source file no longer exists", "restore it and retry") from error
    except OSError as error:
        raise _unreadable(error) from error
    if not stat.S_ISREG(found.st_mode):
        raise Refusal("unreadable", "the source is not a file any more", "restore it and retry")
    return path, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _require_same(path: bytes, before: tuple[bytes, int, int, int, int]) -> None:
    if _state(path) != before:
        raise Refusal("changed", "the source was changed while it was read", "retry when it is whole")


def _unreadable(error: OSError) -> Refusal:
    return Refusal("unreadable", f"the source file cannot be read: {error.strerror}", "mend it and retry")


def _plain_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise _unreadable(error) from error


@contextmanager
def _local(path: bytes, member: str, scratch: Path) -> Iterator[tuple[Path, str | None]]:
    """The file to decode and, of a member that was copied for it, the sha256."""
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
    """Copy a member of `size` bytes, never more; returns its sha256."""
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
        more = stream.read(1)  # also makes zip check the checksum
    if more:
        raise Refusal("damaged", f"the member is longer than its stated size of {size} bytes")
    return digest.hexdigest()


@contextmanager
def _damage() -> Iterator[None]:
    """Turn what the archive libraries raise on damaged files into a refusal."""
    try:
        yield
    except Refusal:
        raise
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # how bz2 and gzip report damaged data
            raise Refusal("damaged", "the member cannot be read from its archive") from error
        raise _unreadable(error) from error
    except _DAMAGE as error:
        raise Refusal(
            "damaged", f"the member cannot be read from its archive ({type(error).__name__})"
        ) from error


@contextmanager
def _member(archive: Path, member: str) -> Iterator[tuple[IO[bytes], int]]:
    """Stream and size of the first member that is listed under this name."""
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
