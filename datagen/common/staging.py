"""Folders and files that are whole or absent, also after a power cut.

What is written goes beside the final name first, is synced, and then takes that name by one rename. The temporary name
says which process it belongs to, so that what a killed one left can be told from what a living one is writing.
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
_NOT_SYNCED = {errno.EINVAL, errno.ENOTSUP}  # of folders on some network mounts


@contextmanager
def staged(final: Path) -> Iterator[Path]:
    """A path beside `final` that takes its name when the block ends well, and vanishes otherwise.

    The block makes a folder or a file of it. Everything in it is synced before the rename, the folder that holds it
    after.

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
        UserError: something of that name is there.
    """
    if final.exists():
        raise UserError(f"{final} exists; weights are never overwritten, give another --output")


def staging_of(final: Path) -> Path:
    """Where this process writes what will be `final`."""
    return final.with_name(f".{_plain(final.name)}~{owner_id()}.tmp")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they survive a power cut as well."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync(path.parent)


def clear_stale(folder: Path, name: str | None = None) -> list[str]:
    """Remove what killed processes were writing in a folder; what living ones write stays.

    Args:
        folder: to look in, not below.
        name: of the final file or folder; None for all.

    Returns:
        Names removed.
    """
    removed = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _STAGING.fullmatch(path.name)
        if (
            match
            and (name is None or _plain(name) == match["name"])
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
    """Flush a file or folder to the disk; folders that cannot be synced (some network mounts) are let be."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SYNCED or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def _plain(name: str) -> str:
    """A name without what sets the owner apart."""
    return name.replace("~", "-")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
