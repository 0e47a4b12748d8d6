"""Commands in threads that pause before every step that changes a published file, and may be stopped there for good.

Stopping a command for good has the effect of SIGKILL: nothing is cleaned up, and its temporary files stay. Only one
thread runs at a time, so that a test runs in the same way every time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datagen.output import publish

_here = threading.local()
_alive = {"cheap~0~0"}


class KilledError(BaseException):
    """Ends the thread of a killed command when its output is no longer looked at."""


class PausableCommand:
    """A command that runs on only when `resume` is called.

    Attributes:
        error: the exception that the command raised.
        done: whether it has ended by itself.
        where: the step before which it is paused.
    """

    _count = 0

    def __init__(self, name: str, work: Callable[[], Any]) -> None:
        PausableCommand._count += 1
        self.name = name
        self.owner = f"cheap~{PausableCommand._count}~0"
        self.done = self.killed = False
        self.error: BaseException | None = None
        self.where = "start"
        self._work = work
        self._steps, self._at = 0.0, ""
        self._over = False
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        _alive.add(self.owner)
        self._thread.start()

    def resume(self, steps: float = float("inf"), at: str = "") -> bool:
        """Let it take so many steps, counting only those whose names contain `at`; returns whether it has ended."""
        if not self.done and not self.killed:
            self._steps, self._at = steps, at
            self._go.release()
            self._back.acquire()
        return self.done

    def kill(self) -> None:
        """Stop it at the step where it is paused; it never continues."""
        self.killed = True
        _alive.discard(self.owner)

    def end(self) -> None:
        """End its thread; nobody may look at the output afterwards."""
        _alive.discard(self.owner)
        if not self.done:
            self._over = True
            self._go.release()
        self._thread.join(30)

    def pause(self, where: str) -> None:
        """Called by the command before a step."""
        if self._over:
            return
        self._steps -= self._at in where
        if self._steps <= 0 and self._at in where:
            self.where = where
            self._back.release()
            self._go.acquire()
            if self._over:
                raise KilledError

    def _run(self) -> None:
        _here.command = self
        self._go.acquire()
        try:
            if not self._over:
                self._work()
        except BaseException as error:
            self.error = error
        self.done = True
        _alive.discard(self.owner)
        self._back.release()


def pause(where: str) -> None:
    """Pause, if the caller runs in a pausable command."""
    current: PausableCommand | None = getattr(_here, "command", None)
    if current is not None:
        current.pause(where)


def owner_id() -> str:
    """In place of `datagen.output.temporary.owner_id`: every command is a process of its own."""
    current: PausableCommand | None = getattr(_here, "command", None)
    return "cheap~0~0" if current is None else current.owner


def install(patch: pytest.MonkeyPatch) -> None:
    """Make commands pause before every system call that changes a published file."""
    unlink, rename, link = Path.unlink, os.replace, publish._link

    def slow_unlink(self: Path, missing_ok: bool = False) -> None:
        pause(f"unlink {_short(self)}")
        unlink(self, missing_ok)

    def slow_replace(source: Any, target: Any, **options: Any) -> None:
        pause(f"replace {_short(target)}")
        rename(source, target, **options)

    def slow_link(tmp: Path, final: Path) -> bool:
        pause(f"link {_short(final)}")
        return link(tmp, final)

    patch.setattr(publish, "_link", slow_link)
    patch.setattr(publish, "_sync", lambda path: pause(f"sync {_short(path)}"))
    patch.setattr(Path, "unlink", slow_unlink)
    patch.setattr(os, "replace", slow_replace)
    patch.setattr("datagen.output.temporary.owner_id", owner_id)
    patch.setattr("datagen.output.temporary.is_alive", lambda owner, path, foreign_age_s: owner in _alive)


def _short(path: Any) -> str:
    return "/".join(Path(path).parts[-2:])
