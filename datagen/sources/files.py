"""Open planned source videos: a local file to decode, and its sha256."""

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
from datagen.sources.archives import extracted, unreadable


@dataclass(frozen=True)
class OpenedFile:
    """A source that is ready to be decoded.

    Attributes:
        path: the source itself, or the extracted archive member.
        sha256: hash of its bytes.
    """

    path: Path
    sha256: str


class SourceFiles:
    """Opens planned sources. Each worker process has one, so that it hashes each source only once."""

    def __init__(self, roots: Mapping[str, Path]) -> None:
        """Args:
        roots: name of each root in the plan -> the absolute folder that its paths are relative to.
        """
        self._roots = roots
        self._hashes: dict[tuple[bytes, int, int, int, int], str] = {}

    @contextmanager
    def open(self, row: Mapping[str, Any], scratch: Path, sha256: str | None = None) -> Iterator[OpenedFile]:
        """Open the source of a plan row; before and after the block, check that the file is the expected one.

        Args:
            row: `root`, `path` (below the root, bytes) and `member`.
            scratch: folder for an extracted archive member.
            sha256: expected hash; None for a source that was never read before.

        Raises:
            Refusal: `changed`, or what `local_file` raises.
            UserError: the root is missing, even if this happens only while the source is used.
        """
        if row["root"] not in self._roots:
            raise UserError(f"the folder of root {row['root']!r} is not known; give it with --root")
        root = self._roots[row["root"]]
        path = os.path.join(os.fsencode(root), row["path"])
        try:
            before = _state(path)
            with extracted(path, row["member"], scratch) as (local, copied):
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
                    yield OpenedFile(local, found)
                except Exception:  # if the file was replaced in the meantime, the refusal is `changed`
                    _require_same(path, before)
                    raise
                _require_same(path, before)
        except UserError:
            raise
        except Exception:
            require_root(root)
            raise


def require_root(root: Path) -> None:
    """Check that a root of the footage exists; called before work starts and when a source is missing.

    Raises:
        UserError: the root does not exist, cannot be read, or is an empty folder (such as an unused mount point).
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
    """A local file to decode: the source itself, or the archive member, extracted to `scratch` until the block ends.

    The name of the extracted file does not come from the archive, so a member cannot be written elsewhere.

    Args:
        path: absolute, as bytes of the file system.
        member: name inside the archive as listed; empty for plain files.
        root: if given and missing, the error is about the root instead of the file.

    Raises:
        Refusal: the file is missing, the member is unsafe, damaged, or `too_large` for the disk of `scratch`.
        UserError: the root is missing.
    """
    try:
        _state(path)
    except Refusal:
        if root is not None:
            require_root(root)
        raise
    with extracted(path, member, scratch) as (local, _):
        yield local


def _state(path: bytes) -> tuple[bytes, int, int, int, int]:
    """Path, size, times and inode: cheap to read, and different after a change of the file."""
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
