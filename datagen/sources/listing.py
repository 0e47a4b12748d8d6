"""List the source videos under a root, without reading them: files of a folder, members of tar and zip archives.

Everything that does not become a source is counted with the reason, so that no file is skipped silently.
"""

from __future__ import annotations

import lzma
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from datagen.common.errors import UserError
from datagen.common.text import shown
from datagen.output.ids import SEPARATOR
from datagen.sources.files import require_root
from datagen.sources.manifest import VIDEO_SUFFIXES, Manifest
from datagen.sources.source import Listing, Skipped, SourceVideo

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".exr", ".ppm")
_OTHER_VIDEOS = (
    *(".y4m", ".yuv", ".h264", ".264", ".avc", ".hevc", ".h265", ".265", ".av1", ".obu", ".mjpeg", ".mjpg"),
    *(".mj2", ".m3u8", ".mpd", ".m4s", ".swf", ".r3d", ".braw", ".ari", ".mlv", ".wtv", ".bik", ".amv"),
)
_OTHER_ARCHIVES = (".7z", ".rar", ".tar.zst", ".tzst", ".tar.lz4", ".tar.lzma", ".tar.lz", ".tar.z", ".iso")
_PIECE = re.compile(r"(\.(zip|tar|tgz|tar\.gz|7z|rar)\.(part_?)?\w{2,3}|[._]part_?[a-z]{2}|\.z\d\d)$")

LINKED_FOLDER = "linked folders are not followed (give them with --input)"
BROKEN_LINK = "broken links"
NO_FOLDER_ACCESS = "folders that may not be read (permissions)"
NO_FILE_ACCESS = "files that cannot be accessed (permissions, or deleted)"
SPECIAL = "pipes, sockets and devices"
HIDDEN = "hidden files and folders"
OUTPUT = "output folders of this program, whose clips are not footage"
FRAMES = "folders of numbered pictures (frame folders are not read yet)"
OTHER_VIDEO = "videos of a kind that is not read"
OTHER_ARCHIVE = "archives of a kind that is not read (unpack them)"
PIECE = "pieces of a split archive (join them)"
NESTED = "archives inside an archive (unpack them)"
SAME_NAME = "second files with the same name, such as in an archive that holds a name twice"
EXCLUDED = "videos and archives that the manifest's `include` does not match"

_MANY_FRAMES = 8  # a folder with so many numbered pictures is a folder of video frames
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError),
    *(zlib.error, lzma.LZMAError, struct.error, RecursionError, OverflowError),
)


def base_of(root: Path) -> Path:
    """The folder that source paths are relative to: the root, or its parent if the root is a file."""
    return root.parent if root.is_file() else root


def list_sources(root: Path, manifest: Manifest, skip: Path | None = None) -> Listing:
    """List every source under `root`, which is a folder, an archive or a video.

    Args:
        root: absolute.
        skip: the output folder; skipped if it lies under the root.

    Raises:
        UserError: the root does not exist, cannot be read, is empty, or is an output of this program.
    """
    require_root(root)
    lister = _Lister(base_of(root), manifest)
    if root.is_file():
        lister.add_file(root.name, named=True)
    else:
        lister.add_folder(root, None if skip is None else os.path.realpath(skip))
    return lister.listing()


class _Lister:
    """Collects the sources of one root."""

    def __init__(self, base: Path, manifest: Manifest) -> None:
        self._base = base
        self._manifest = manifest
        self._sources: list[SourceVideo] = []
        self._skipped: list[Skipped] = []
        self._others: Counter[str] = Counter()

    def listing(self) -> Listing:
        unique: dict[str, SourceVideo] = {}
        for source in self._sources:
            if unique.setdefault(source.source, source) is not source:
                self._skip(source.source, SAME_NAME)
        return Listing([unique[name] for name in sorted(unique)], self._skipped, dict(self._others))

    def add_folder(self, root: Path, skip: str | None) -> None:
        """Walk the folder `root`. Links to folders are not followed, so that there are no loops."""
        real = os.path.realpath(root)
        if skip == real:
            raise UserError(
                f"{root} is both the footage and the output; use another folder for the output", code=2
            )
        waiting = [""]
        while waiting:
            below = waiting.pop()
            try:
                with os.scandir(os.path.join(root, below)) as opened:
                    entries = sorted(opened, key=lambda entry: entry.name)
            except OSError:
                self._skip(f"{below}/", NO_FOLDER_ACCESS)
                continue
            if _is_output(entries):
                if not below:
                    raise UserError(
                        f"{root} is an output of this program; give the original footage instead", code=2
                    )
                self._skip(f"{below}/", OUTPUT)
                continue
            folders, files = self._sort(below, entries)
            for folder in reversed(folders):
                if skip is not None and os.path.join(real, folder) == skip:
                    self._skip(f"{folder}/", OUTPUT)
                else:
                    waiting.append(folder)
            frames = _frames(files)
            if frames:
                self._skip(f"{below}/" if below else "./", FRAMES)
            for name in files:
                if name not in frames:
                    self.add_file(os.path.join(below, name))

    def add_file(self, relative: str, *, named: bool = False) -> None:
        """List a file or the members of an archive.

        Args:
            named: the user gave this file by name, so it counts as a video whatever its suffix is.
        """
        lowered = relative.lower()
        archive = lowered.endswith(ARCHIVE_SUFFIXES)
        if not (archive or named or lowered.endswith(VIDEO_SUFFIXES)):
            self._add_other(relative)
            return
        if os.path.basename(relative).startswith("._"):
            self._skip(relative, HIDDEN)
        elif not named and not any(_matches(relative, pattern) for pattern in self._manifest.include):
            self._skip(relative, EXCLUDED)
        else:
            path = self._base / relative
            try:
                stat = path.stat()
            except OSError:
                self._skip(relative, NO_FILE_ACCESS)
                return
            if archive:
                self._add_members(path, relative, stat)
            else:
                self._add(relative, "", stat.st_size, str(stat.st_mtime_ns))

    def _sort(self, below: str, entries: Iterable[os.DirEntry[str]]) -> tuple[list[str], list[str]]:
        """Folders to walk (paths below the root) and names of files."""
        folders: list[str] = []
        files: list[str] = []
        for entry in entries:
            path = os.path.join(below, entry.name)
            try:
                if entry.is_dir():
                    if entry.name.startswith("."):
                        self._skip(f"{path}/", HIDDEN)
                    elif entry.is_symlink():
                        self._skip(f"{path}/", LINKED_FOLDER)
                    else:
                        folders.append(path)
                elif entry.is_file():
                    files.append(entry.name)
                elif entry.is_symlink():
                    self._skip(path, BROKEN_LINK)
                else:
                    self._skip(path, SPECIAL)
            except OSError:  # a circular link, or no permission to follow it
                self._skip(path, BROKEN_LINK if entry.is_symlink() else NO_FILE_ACCESS)
        return folders, files

    def _add_members(self, path: Path, relative: str, stat: os.stat_result) -> None:
        names: dict[str, list[str]] = {}  # folder inside the archive -> names of files that are not videos
        seen: set[str] = set()
        try:
            for name, size, etag in _members(path, str(stat.st_mtime_ns)):
                folder, _, base = name.rpartition("/")
                if not name.lower().endswith(VIDEO_SUFFIXES):
                    names.setdefault(folder, []).append(base)
                elif base.startswith("._") or name.startswith("__MACOSX/"):
                    self._skip(f"{relative}{SEPARATOR}{name}", HIDDEN)
                elif name in seen:
                    self._skip(f"{relative}{SEPARATOR}{name}", SAME_NAME)
                else:
                    seen.add(name)
                    self._add(relative, name, size, etag)
        except _DAMAGE:
            # Readable members are listed. The archive itself also becomes a source, which fails and is reported.
            self._add(relative, "", stat.st_size, str(stat.st_mtime_ns))
        for folder, bases in names.items():
            frames = _frames(bases)
            inside = f"{relative}{SEPARATOR}{folder}/" if folder else f"{relative}{SEPARATOR}"
            if frames:
                self._skip(inside, FRAMES)
            for base in bases:
                if base not in frames:
                    self._add_other(inside + base, nested=True)

    def _add_other(self, path: str, *, nested: bool = False) -> None:
        """Count a file that is not a video; name it if it looks like footage."""
        lowered = path.lower()
        if lowered.endswith(_OTHER_VIDEOS):
            self._skip(path, OTHER_VIDEO)
        elif nested and lowered.endswith((*ARCHIVE_SUFFIXES, *_OTHER_ARCHIVES)):
            self._skip(path, NESTED)
        elif lowered.endswith(_OTHER_ARCHIVES):
            self._skip(path, OTHER_ARCHIVE)
        elif _PIECE.search(lowered):
            self._skip(path, PIECE)
        else:
            self._others[PurePosixPath(lowered.rpartition(SEPARATOR)[2]).suffix] += 1

    def _add(self, relative: str, member: str, size: int, etag: str) -> None:
        name = shown(f"{relative}{SEPARATOR}{member}" if member else relative)
        self._sources.append(
            SourceVideo(
                name,
                os.fsencode(relative),
                shown(member),
                size,
                etag,
                _searched(self._manifest.subject, "subject", name),
                _searched(self._manifest.group, "group", name),
            )
        )

    def _skip(self, path: str, reason: str) -> None:
        self._skipped.append(Skipped(shown(path), reason))


def _members(path: Path, changed: str) -> Iterator[tuple[str, int, str]]:
    """Name, size and etag of all members of an archive that are not folders.

    Args:
        changed: modification time of the archive; the etag of members without a checksum.
    """
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    yield entry.filename, entry.file_size, f"{entry.CRC:08x}"
    else:
        with tarfile.open(path, errors="surrogateescape") as tar:
            for item in tar:
                if not item.isdir():
                    yield item.name, item.size, changed


def _is_output(entries: Iterable[os.DirEntry[str]]) -> bool:
    return {"run.json", "shards", "index"} <= {entry.name for entry in entries}


def _frames(names: list[str]) -> frozenset[str]:
    """The pictures of a folder if they are numbered like video frames, otherwise an empty set."""
    pictures = [name for name in names if name.lower().endswith(_PICTURES)]
    numbered = sum(PurePosixPath(name).stem[-1:].isdigit() for name in pictures)
    many = len(pictures) >= _MANY_FRAMES and numbered >= 0.9 * len(pictures)
    return frozenset(pictures) if many else frozenset()


def _matches(relative: str, pattern: str) -> bool:
    return fnmatch(relative, pattern) or (pattern.startswith("**/") and fnmatch(relative, pattern[3:]))


def _searched(pattern: str | None, group: str, name: str) -> str | None:
    match = re.search(pattern, name) if pattern else None
    return (match.group(group) or None) if match else None
