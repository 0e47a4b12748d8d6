"""Commands that take turns: each runs in a thread of its own, stops at every step that others can see, and may be
stopped there for good, which is what SIGKILL does: nothing is cleaned up, and its temporary files stay.

Only one thread runs at a time, so that a test is the same each time.
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
    """Ends the thread of a command that was killed, when nothing is left to be seen."""


class Actor:
    """A command that goes on when it is told.

    Attributes:
        error: what it raised.
        done: it has ended by itself.
        where: the step before which it stands.
    """

    _count = 0

    def __init__(self, name: str, work: Callable[[], Any]) -> None:
        Actor._count += 1
        self.name = name
        self.owner = f"cheap~{Actor._count}~0"
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
        """Let it take some steps, counting only those whose names hold `at`; whether it has ended."""
        if not self.done and not self.killed:
            self._steps, self._at = steps, at
            self._go.release()
            self._back.acquire()
        return self.done

    def kill(self) -> None:
        """Stop it for good where it stands."""
        self.killed = True
        _alive.discard(self.owner)

    def end(self) -> None:
        """Get rid of its thread; the output must be gone or no longer looked at."""
        _alive.discard(self.owner)
        if not self.done:
            self._over = True
            self._go.release()
        self._thread.join(30)

    def pause(self, where: str) -> None:
        """Called by it before a step."""
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
        _here.actor = self
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
    """Let others take their turn, if this is a command that runs as an actor."""
    actor: Actor | None = getattr(_here, "actor", None)
    if actor is not None:
        actor.pause(where)


def owner_id() -> str:
    """In place of `datagen.output.temporary.owner_id`: every command is a process of its own."""
    actor: Actor | None = getattr(_here, "actor", None)
    return "cheap~0~0" if actor is None else actor.owner


def install(patch: pytest.MonkeyPatch) -> None:
    """Stop before and after whatever changes a published file."""
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
