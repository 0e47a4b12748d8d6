"""Looking after workers: time limits, silence, and what they printed last."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from datagen.runners.tasks import Loss, Task

LOAD_S = 1800.0  # a worker that has not loaded its models by then hangs
GAP_S = 30.0  # the driver looks every second or two: a longer gap means that it was stopped itself
TAIL_BYTES = 16_384


@dataclass(frozen=True)
class Doing:
    """What one worker is busy with.

    Attributes:
        worker: its name, with its node.
        task: name of its task.
        busy_s: seconds it has been at it.
        silent_s: seconds it has not answered; 0 while it answers.
    """

    worker: str
    task: str
    busy_s: float
    silent_s: float


@dataclass(frozen=True)
class Fingerprint:
    """What a machine makes bytes with.

    Attributes:
        must: name -> version or hash; with another one it would make other bytes.
        may: name -> value; with another one it might.
    """

    must: dict[str, str] = field(default_factory=dict)
    may: dict[str, str] = field(default_factory=dict)


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _ignore(doing: Sequence[Doing]) -> None:
    pass


@dataclass(frozen=True)
class Supervision:
    """How workers are looked after, and who hears of it.

    Attributes:
        say: takes one line for the person at the keyboard.
        on_wait: called every second or two while the driver waits, with what the workers are busy with.
        pulse: called every few seconds in each worker, beside its work; a worker whose pulse hangs does not
            answer. Picklable.
        logs: folder for what lost workers printed last (`tasks/`) and for `nodes.json`; None keeps nothing.
        fingerprint: tells what a node makes bytes with; called once in each worker. Picklable.
        expected: what it must tell.
        ask_s: seconds between two questions to a worker whether it is well.
        silent_s: seconds without an answer after which a line says so.
        lost_s: seconds without an answer after which the worker is given up.
    """

    say: Callable[[str], None] = _print
    on_wait: Callable[[Sequence[Doing]], None] = _ignore
    pulse: Callable[[], None] | None = None
    logs: Path | None = None
    fingerprint: Callable[[], Fingerprint] | None = None
    expected: Fingerprint = Fingerprint()
    ask_s: float = 10.0
    silent_s: float = 60.0
    lost_s: float = 300.0


class Watch:
    """One worker at one task: how long it has been at it, and when it answered last."""

    def __init__(self, worker: str, task: Task, supervision: Supervision) -> None:
        self.worker, self.task = worker, task
        self._rules = supervision
        self._began = self._heard = self._looked = time.monotonic()
        self._told = False

    def answered(self) -> None:
        """The worker gave a sign of life."""
        self._heard = time.monotonic()
        if self._told:
            self._rules.say(f"{self.worker} answers again")
            self._told = False

    def look(self) -> Loss | None:
        """Whether the worker has to be given up; says once when it has become silent.

        Time during which the driver itself did not run is not held against the worker.
        """
        now, rules = time.monotonic(), self._rules
        if now - self._looked > GAP_S:
            self._began += now - self._looked
            self._heard += now - self._looked
        self._looked = now
        allowed, silent = self.task.allowed_s, now - self._heard
        if allowed and now - self._began > allowed:
            return Loss("timeout", f"took longer than {allowed:g} s")
        if silent > rules.silent_s and not self._told:
            self._told = True
            rules.say(
                f"{self.worker} has not answered for {rules.silent_s:g} s: stopped, or waiting for a dead disk; "
                f"its task {self.task.name} goes back after {rules.lost_s:g} s"
            )
        return Loss("timeout", f"did not answer for {rules.lost_s:g} s") if silent > rules.lost_s else None

    def doing(self) -> Doing:
        """For the status."""
        now = time.monotonic()
        silent = now - self._heard
        return Doing(
            self.worker,
            self.task.name,
            round(now - self._began, 1),
            round(silent, 1) if silent > self._rules.silent_s else 0.0,
        )


def keep_lines(logs: Path | None, task: Task, what: str, printed: str) -> None:
    """Append what happened to a task, and what its process printed last, to `logs/tasks/<task>.log`."""
    if logs is None:
        return
    with suppress(OSError):  # a full disk is told by those who publish
        (logs / "tasks").mkdir(parents=True, exist_ok=True)
        with (logs / "tasks" / f"{task.key}.log").open("a", encoding="utf-8") as file:
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            file.write(f"{when} {task.key}: {what}\n{printed}\n")


def last_lines(descriptor: int) -> str:
    """The last lines of an open file."""
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES)).decode(errors="replace")
