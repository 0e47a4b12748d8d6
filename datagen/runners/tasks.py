"""Tasks and reports that runners pass between processes, and how a failed attempt is reported."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

from datagen.common.errors import Refusal, UserError

Report = dict[str, Any]
"""Counters of a finished task (`clips`, `failed`, `frames`, `seconds: {operation: s}` ...); they can be summed.

A task that could not be done has the keys `reason` (see `datagen.common.errors.REASONS`) and `message` instead.
"""

LOSSES_BEFORE_ISOLATION = 2  # the node or a user may have caused the first loss
LOSSES_BEFORE_GIVING_UP = 4
ATTEMPTS = 2  # an unexpected exception is tried once more
STACKS_AT = 0.98  # share of the limit after which the stacks are printed
ISOLATED_LIMITS = 10  # times the limit that an isolated task may take: it tries its items by halving


@dataclass(frozen=True)
class Task:
    """One piece of work. What it is about is added by subclasses; runners do not look at it.

    Attributes:
        kind: the kind of work, the same for all tasks of a class.
        name: unique among the tasks of its kind.
        isolate: the task's process died more than once: its items are tried in processes of their own
            (`datagen.runners.isolate`), so that only the item at fault is lost.
        limit_s: how many seconds the task may take; its process is killed after that. None for no limit.
    """

    kind: str
    name: str
    isolate: bool = False
    limit_s: float | None = None

    @property
    def key(self) -> str:
        """Name that is unique over all kinds."""
        return f"{self.kind}-{self.name}"

    @property
    def allowed_s(self) -> float | None:
        """Seconds after which its process is killed: more than `limit_s` where `isolate` is set."""
        return self.limit_s and self.limit_s * (ISOLATED_LIMITS if self.isolate else 1)


Worker = Callable[[Task], Report]
"""Runs tasks. Made once per process, so that models are loaded once."""

Factory = Callable[[], Worker]
"""Makes a worker; picklable."""

OnReport = Callable[[Task, Report], None]
"""Called in the driver for every task that is over."""


@dataclass(frozen=True)
class TaskOutcome:
    """How one attempt ended: `done`, `stop` (only the user can solve it) or `error` (unexpected)."""

    kind: Literal["done", "stop", "error"]
    report: Report
    code: int = 1


@dataclass(frozen=True)
class WorkerLoss:
    """The end of a worker process while it ran a task.

    Attributes:
        reason: `crashed` where it died by itself, `timeout` where it was killed.
        how: the signal or exit code, or the seconds after which it was killed.
    """

    reason: Literal["crashed", "timeout"]
    how: str


def attempt(worker: Worker, task: Task) -> TaskOutcome:
    """Run one task; raises nothing but interrupts.

    The traceback of an unexpected error goes to stderr, and shortly before the limit the stacks of all threads.
    """
    if task.allowed_s:
        faulthandler.dump_traceback_later(STACKS_AT * task.allowed_s, file=2)
    try:
        return TaskOutcome("done", worker(task))
    except UserError as error:
        return TaskOutcome("stop", {"message": str(error)}, error.code)
    except Refusal as error:
        return TaskOutcome("done", given_up(error.reason, error.message))
    except MemoryError:
        return TaskOutcome("error", given_up("out_of_memory", "the task does not fit into memory"))
    except Exception as error:  # whatever the stages raise must fail this task only, not the run
        traceback.print_exc()
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(where.filename)}:{where.lineno}"
        message = " ".join(f"{type(error).__name__}: {error} ({place})".split())
        return TaskOutcome("error", given_up("internal", message))
    finally:
        faulthandler.cancel_dump_traceback_later()


def given_up(reason: str, message: str) -> Report:
    """Report of a task that could not be done."""
    return {"reason": reason, "message": message}


def lost_for_good(task: Task, loss: WorkerLoss) -> Report:
    """Report of a task whose process died too often."""
    if loss.reason == "crashed":
        return given_up("crashed", "the task killed its process, also when isolated")
    return given_up("timeout", f"the task {loss.how}, also when isolated")


def single_threaded() -> None:
    """Limit numeric libraries to one thread: there are many workers, and results depend on the number of threads."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = "1"
    import cv2  # after the variables are set

    cv2.setNumThreads(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that child processes are shut down."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
