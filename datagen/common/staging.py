"""Write folders and files atomically: they are complete or absent, also after a power cut.

Data is written under a temporary name next to the final one, synced, and then renamed. The temporary name contains the
id of the process, so that leftovers of a killed process can be distinguished from files that are being written.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from datagen.common.errors import UserError
from datagen.common.owner import is_alive, owner_id

_STAGING = re.compile(r"\.(?P<name>.+?)(?:~(?P<owner>[^~]+(?:~[^~]+)*)|\.\d+)\.tmp")
_NOT_SYNCED = {errno.EINVAL, errno.ENOTSUP}  # raised for folders on some network mounts


@contextmanager
def staged(final: Path) -> Iterator[Path]:
    """A temporary path next to `final`: renamed to `final` if the block succeeds, deleted otherwise.

    The block creates a file or a folder there. Its contents are synced before the rename, its parent folder after.

    Raises:
        UserError: `final` exists, or cannot be written.
    """
    refuse_existing(final)
    staging = staging_of(final)
    try:
        make_folder(final.parent)
        clear_stale(final.parent, final.name)
        yield staging
        sync_tree(staging)
        os.replace(staging, final)
        sync(final.parent)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write {final}: {error}") from error
    finally:
        _remove(staging)


def refuse_existing(final: Path) -> None:
    """Weights are never overwritten.

    Raises:
        UserError: `final` exists.
    """
    if final.exists():
        raise UserError(f"{final} exists; weights are never overwritten, give another --output")


def staging_of(final: Path) -> Path:
    """Temporary path where this process writes `final`."""
    return final.with_name(f".{_without_separator(final.name)}~{owner_id()}.tmp")


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, synced, so that they survive a power cut."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync(path.parent)


def clear_stale(folder: Path, name: str | None = None) -> list[str]:
    """Remove what killed processes left in a folder; files of running processes stay.

    Args:
        folder: searched, without its subfolders.
        name: of the final file or folder; None for all.

    Returns:
        Names removed.
    """
    removed = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _STAGING.fullmatch(path.name)
        if (
            match
            and (name is None or _without_separator(name) == match["name"])
            and not is_alive(match["owner"] or "", path)
        ):
            _remove(path)
            removed.append(path.name)
    return removed


def sync_tree(path: Path) -> None:
    """Flush a file, or every file and folder below a folder and the folder itself, to the disk."""
    if path.is_dir():
        for inner in sorted(path.iterdir()):
            sync_tree(inner)
    sync(path)


def sync(path: Path) -> None:
    """Flush a file or folder to the disk; folders that cannot be synced (some network mounts) are ignored."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SYNCED or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def _without_separator(name: str) -> str:
    """A name without `~`, the character that separates the owner."""
    return name.replace("~", "-")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
