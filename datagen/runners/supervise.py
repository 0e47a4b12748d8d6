"""Supervision of workers: time limits, missing answers, and what a process printed last."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from datagen.runners.tasks import Task, WorkerLoss

LOAD_S = 1800.0  # after this time without loaded models a worker counts as hung
LOADING = Task("load", "of models", limit_s=LOAD_S)
"""Stands for the start of a worker where a task is expected."""

GAP_S = 30.0  # the driver checks every second or two; a longer gap means that the driver itself was stopped
TAIL_BYTES = 16_384


@dataclass(frozen=True)
class WorkerStatus:
    """What one worker is busy with.

    Attributes:
        worker: the worker's name, with its node.
        task: name of its task.
        busy_s: seconds since it began.
        silent_s: seconds since its last answer; 0 while it answers.
    """

    worker: str
    task: str
    busy_s: float
    silent_s: float


@dataclass(frozen=True)
class Fingerprint:
    """Software and hardware of a machine, as far as they decide the bytes of a clip.

    Attributes:
        must: name -> version or hash; where one differs, the bytes differ.
        may: name -> value; where one differs, the bytes may differ.
    """

    must: dict[str, str] = field(default_factory=dict)
    may: dict[str, str] = field(default_factory=dict)


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _ignore(workers: Sequence[WorkerStatus]) -> None:
    pass


@dataclass(frozen=True)
class Supervision:
    """How workers are supervised, and who is told.

    Attributes:
        say: prints one line for the user.
        on_wait: called every second or two while the driver waits, with the status of the busy workers.
        heartbeat: called every few seconds in each worker, in a thread beside its task; while it does not return,
            the worker counts as not answering. Picklable.
        logs: folder for what lost workers printed last (`tasks/`) and for `nodes.json`; None keeps nothing.
        fingerprint: returns the fingerprint of a node; called once in each worker. Picklable.
        expected: the fingerprint that nodes must have.
        ping_s: seconds between two heartbeats, or two pings of a Ray worker.
        silent_s: seconds without an answer after which the user is told.
        lost_s: seconds without an answer after which the worker is given up.
    """

    say: Callable[[str], None] = _print
    on_wait: Callable[[Sequence[WorkerStatus]], None] = _ignore
    heartbeat: Callable[[], None] | None = None
    logs: Path | None = None
    fingerprint: Callable[[], Fingerprint] | None = None
    expected: Fingerprint = Fingerprint()
    ping_s: float = 10.0
    silent_s: float = 60.0
    lost_s: float = 300.0


class Watch:
    """One worker at one task: when it began, and when it answered last."""

    def __init__(self, worker: str, task: Task, supervision: Supervision) -> None:
        self.worker, self.task = worker, task
        self._rules = supervision
        self._began = self._answered = self._checked = time.monotonic()
        self._reported = False

    def answered(self) -> None:
        """Note that the worker answered."""
        self._answered = time.monotonic()
        if self._reported:
            self._rules.say(f"{self.worker} answers again")
            self._reported = False

    def check(self) -> WorkerLoss | None:
        """A `WorkerLoss` if the worker must be replaced, else None; tells the user once when a worker stops answering.

        Time during which the driver itself did not run does not count.
        """
        now, rules = time.monotonic(), self._rules
        if now - self._checked > GAP_S:
            self._began += now - self._checked
            self._answered += now - self._checked
        self._checked = now
        allowed, silent = self.task.allowed_s, now - self._answered
        if allowed and now - self._began > allowed:
            return WorkerLoss("timeout", f"took longer than {allowed:g} s")
        if silent > rules.silent_s and not self._reported:
            self._reported = True
            rules.say(
                f"{self.worker} has not answered for {rules.silent_s:g} s: it is stopped, or waits for a disk that "
                f"does not respond; its task {self.task.name} will be tried again after {rules.lost_s:g} s"
            )
        return (
            WorkerLoss("timeout", f"did not answer for {rules.lost_s:g} s") if silent > rules.lost_s else None
        )

    def status(self) -> WorkerStatus:
        """What the worker is busy with."""
        now = time.monotonic()
        silent = now - self._answered
        return WorkerStatus(
            self.worker,
            self.task.name,
            round(now - self._began, 1),
            round(silent, 1) if silent > self._rules.silent_s else 0.0,
        )


def append_task_log(logs: Path | None, task: Task, what: str, printed: str) -> None:
    """Append what happened to a task, and what its process printed last, to `logs/tasks/<task>.log`."""
    if logs is None:
        return
    with suppress(OSError):  # a full disk is reported where results are published
        (logs / "tasks").mkdir(parents=True, exist_ok=True)
        with (logs / "tasks" / f"{task.key}.log").open("a", encoding="utf-8") as file:
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            file.write(f"{when} {task.key}: {what}\n{printed}\n")


def tail(descriptor: int) -> str:
    """The last `TAIL_BYTES` of an open file, as text."""
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES)).decode(errors="replace")
