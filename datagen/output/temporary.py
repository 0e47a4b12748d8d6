"""Temporary files under `OUT/tmp`: their names, their heartbeat, and the removal of stale ones."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from datagen.common.owner import FOREIGN_AGE_S, is_alive, owner_id

TOUCH_S = 600.0
"""Seconds after which a worker touches its temporary files again."""

_counter = iter(range(2**62))


def temporary(tmp: Path, name: str) -> Path:
    """A unique path under `tmp`; its name contains the id of this process."""
    return tmp / f"{name.replace('~', '-')}~{owner_id()}~{next(_counter)}"


def clear_stale(tmp: Path, foreign_age_s: float = FOREIGN_AGE_S) -> int:
    """Remove temporary files whose process no longer runs.

    Files of this host and container are stale if their process has ended; files of other hosts, if they were not
    touched for `foreign_age_s` seconds. Call it at the start and the end of a run.

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
    """Called every few seconds in a worker, parallel to its work, so that its temporary files do not become stale.

    A call returns only after the disks have answered, so a call that hangs shows that a disk does not answer.

    Args:
        tmp: folder of the temporary files.
        places: other files or folders whose disks the worker needs.
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
                with suppress(OSError):  # it was published in the meantime
                    os.utime(path)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
