"""Open planned source videos: a real file to decode, with the sha256 of its bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen.common.errors import Refusal, UserError
from datagen.common.hashing import file_sha256
from datagen.sources.archives import copied_out, unreadable


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
            with copied_out(path, row["member"], scratch) as (local, copied):
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
    with copied_out(path, member, scratch) as (local, _):
        yield local


def _state(path: bytes) -> tuple[bytes, int, int, int, int]:
    """What changes with a file's content; cheap to ask for."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Refusal("unreadable", "the source file no longer exists", "restore it and retry") from error
    except OSError as error:
        raise unreadable(error) from error
    if not stat.S_ISREG(found.st_mode):
        raise Refusal("unreadable", "the source is not a file any more", "restore it and retry")
    return path, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _require_same(path: bytes, before: tuple[bytes, int, int, int, int]) -> None:
    if _state(path) != before:
        raise Refusal("changed", "the source was changed while it was read", "retry when it is whole")


def _plain_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise unreadable(error) from error
