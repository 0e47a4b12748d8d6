"""Temporary files under `OUT/tmp`: their names, their signs of life, and the removal of those that were left."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from datagen.common.owner import FOREIGN_AGE_S, is_alive, owner_id

TOUCH_S = 600.0
"""A worker touches its temporary files this often."""

_counter = iter(range(2**62))


def temporary(tmp: Path, name: str) -> Path:
    """A path under `tmp` nobody else uses; its name tells which process it belongs to."""
    return tmp / f"{name.replace('~', '-')}~{owner_id()}~{next(_counter)}"


def clear_stale(tmp: Path, foreign_age_s: float = FOREIGN_AGE_S) -> int:
    """Remove temporary files whose process is gone; those of living ones, here or elsewhere, stay.

    Files of this host and container are stale when their process has ended, files of others when untouched
    for `foreign_age_s` seconds. Call it at the start and the end of a run.

    Returns:
        Number of files and folders removed.
    """
    removed = 0
    for path in _entries(tmp):
        owner = path.name.rpartition("~")[0].split("~", 1)
        if is_alive(owner[1] if len(owner) == 2 else "", path, foreign_age_s):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        removed += 1
    return removed


class Heartbeat:
    """Called every few seconds in a worker, beside its work: keeps its temporary files from looking idle.

    A call returns only when the disks answer, so that one that hangs tells of a dead disk.

    Args:
        tmp: folder of the temporary files.
        places: further files or folders whose disks the worker needs.
    """

    def __init__(self, tmp: Path, places: tuple[Path, ...] = ()) -> None:
        self._tmp, self._places = tmp, places
        self._touch_at = 0.0

    def __call__(self) -> None:
        for place in (self._tmp, *self._places):
            with suppress(OSError):
                place.stat()
        if time.monotonic() >= self._touch_at:
            self._touch_at = time.monotonic() + TOUCH_S
            mine = f"~{owner_id()}~"
            for path in (path for path in _entries(self._tmp) if mine in path.name):
                with suppress(OSError):  # published meanwhile
                    os.utime(path)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
