"""Find the source videos: files of a folder and members of tar and zip archives, listed without reading them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from datagen.errors import Refusal, UserError
from datagen.manifest import VIDEO_SUFFIXES, Manifest

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
SEPARATOR = "::"


@dataclass(frozen=True)
class Source:
    """One source video as listed: nothing of it has been read yet.

    Attributes:
        source: path relative to the root, with `::member` inside an archive; undecodable bytes are escaped.
        path: file system path of the file or archive, as bytes.
        member: name inside the archive, empty for plain files.
    """

    source: str
    path: bytes
    member: str
    size: int
    etag: str
    subject: str | None


def list_sources(root: Path, manifest: Manifest) -> list[Source]:
    """Every source under `root`, sorted by its name.

    Raises:
        UserError: the root does not exist or holds no video.
    """
    files = [root] if root.is_file() else _walk(root)
    base = root.parent if root.is_file() else root
    found: list[Source] = []
    for path in files:
        relative = path.relative_to(base).as_posix()
        lowered = relative.lower()
        if not root.is_file() and not any(_matches(relative, pattern) for pattern in manifest.include):
            continue
        if lowered.endswith(ARCHIVE_SUFFIXES):
            found.extend(_members(path, relative, manifest))
        elif lowered.endswith(VIDEO_SUFFIXES) or path == root:
            stat = path.stat()
            found.append(_source(relative, path, "", stat.st_size, str(stat.st_mtime_ns), manifest))
    return sorted(found, key=lambda item: item.source)


def sources_key(
    source: str, person: str = "", start_s: float | None = None, end_s: float | None = None
) -> str:
    """Source plus person and time range where annotations give them."""
    key = source
    if person:
        key += f"#{person}"
    if start_s is not None or end_s is not None:
        key += f"@{start_s or 0:.3f}-{'' if end_s is None else format(end_s, '.3f')}"
    return key


def name_of(source: str) -> str:
    """Readable stem of clip ids: the tail of the path in `[a-z0-9_-]`, at most 40 characters."""
    path = PurePosixPath(source.replace(SEPARATOR, "/"))
    tail = "_".join([*path.parts[-3:-1], path.stem])
    plain = unicodedata.normalize("NFKD", tail).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")[-40:].strip("-_") or "clip"


def key_hash(source_key: str) -> str:
    """First 8 hex digits of the source key's sha256."""
    return hashlib.sha256(source_key.encode()).hexdigest()[:8]


@contextmanager
def local_file(path: bytes, member: str, scratch: Path) -> Iterator[Path]:
    """A real file to decode: the source itself, or the archive member copied to `scratch` for the time being.

    The copy's name never comes from the archive, so no member can escape.

    Raises:
        Refusal: the file is gone, the member is unsafe or the archive is damaged.
    """
    plain = Path(os.fsdecode(path))
    if not member:
        if not plain.is_file():
            raise Refusal("unreadable", "the source file no longer exists", "restore it and retry")
        yield plain
        return
    parts = PurePosixPath(member).parts
    if member.startswith(("/", "\\")) or ".." in parts or "\\" in member or re.match(r"^[A-Za-z]:", member):
        raise Refusal("unsafe_member", "the member's name points outside the archive", "repack the archive")
    suffix = PurePosixPath(member).suffix.lower()
    copy = scratch / f"member-{os.getpid()}{suffix if suffix in VIDEO_SUFFIXES else ''}"
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        _extract(plain, member, copy)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _walk(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        raise UserError(f"{root} does not exist; check the path", code=2)
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            if not name.startswith("._") and path.is_file():
                yield path


def _matches(relative: str, pattern: str) -> bool:
    return fnmatch(relative, pattern) or (pattern.startswith("**/") and fnmatch(relative, pattern[3:]))


def _source(relative: str, path: Path, member: str, size: int, etag: str, manifest: Manifest) -> Source:
    name = f"{relative}{SEPARATOR}{member}" if member else relative
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    match = re.search(manifest.subject, shown) if manifest.subject else None
    subject = match.group("subject") if match else None
    return Source(shown, os.fsencode(path), member, size, etag, subject)


def _members(path: Path, relative: str, manifest: Manifest) -> Iterator[Source]:
    stat = path.stat()
    listed: list[tuple[str, int, str]] = []
    try:
        if relative.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    if not entry.is_dir():
                        listed.append((entry.filename, entry.file_size, f"{entry.CRC:08x}"))
        else:
            with tarfile.open(path, errors="surrogateescape") as tar:
                for item in tar:
                    if not item.isdir():
                        listed.append((item.name, item.size, str(stat.st_mtime_ns)))
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError):
        # What is readable is listed; the archive itself becomes the source that fails, so that nothing is lost.
        yield _source(relative, path, "", stat.st_size, str(stat.st_mtime_ns), manifest)
    seen: set[str] = set()
    for name, size, etag in listed:
        if name.lower().endswith(VIDEO_SUFFIXES) and name not in seen:
            seen.add(name)
            yield _source(relative, path, name, size, etag, manifest)


def _extract(archive: Path, member: str, target: Path) -> None:
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as opened:
                info = opened.getinfo(member)
                if (info.external_attr >> 16) & 0o170000 == 0o120000:
                    raise Refusal(
                        "unsafe_member", "the member is a link", "repack the archive with real files"
                    )
                with opened.open(info) as stream, target.open("wb") as copy:
                    shutil.copyfileobj(stream, copy)
            return
        with tarfile.open(archive, errors="surrogateescape") as tar:
            item = tar.getmember(member)
            if not item.isfile():
                raise Refusal(
                    "unsafe_member", "the member is a link or a device", "repack the archive with real files"
                )
            content = tar.extractfile(item)
            if content is None:
                raise Refusal("damaged", "the member cannot be read from its archive")
            with content as stream, target.open("wb") as copy:
                shutil.copyfileobj(stream, copy)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        KeyError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise Refusal(
            "damaged", f"the member cannot be read from its archive ({type(error).__name__})"
        ) from error
