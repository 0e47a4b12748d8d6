"""The reference runner: tasks in order, one at a time, in one child process that may crash or hang."""

from __future__ import annotations

import fcntl
import os
import pickle
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe

from datagen.common.errors import UserError
from datagen.runners.processes import describe_exit, kill_group, start_python
from datagen.runners.supervise import LOADING, Supervision, Watch, append_task_log, tail
from datagen.runners.tasks import (
    ATTEMPTS,
    LOSSES_BEFORE_GIVING_UP,
    LOSSES_BEFORE_ISOLATION,
    Factory,
    OnReport,
    Report,
    Task,
    TaskOutcome,
    WorkerLoss,
    interruptible,
    lost_for_good,
)

WAIT_S = 1.0  # how often the driver checks its child while it waits
FAILED_STARTS = 3  # in a row


def run_local(
    factory: Factory,
    tasks: Iterable[Task],
    on_report: OnReport,
    *,
    supervision: Supervision = Supervision(),  # noqa: B008 - frozen
) -> None:
    """Do all tasks, one after another, in a child process that holds the worker.

    A child that dies, takes longer than a task's limit or does not answer is replaced, and its task is tried again;
    after `LOSSES_BEFORE_ISOLATION` losses with `isolate` set. The child ends when this process does, however it ends.

    Args:
        factory: makes the worker in the child, when there is a first task; must be importable there.
        tasks: in the order to do them; may be a generator.
        on_report: called after each task; an exception from it ends the run.
        supervision: how the child is supervised.

    Raises:
        UserError: the worker reports what only the user can solve, such as a full disk, or it cannot start.
    """
    runner = _TaskRunner(factory, supervision)
    with interruptible():
        try:
            for task in tasks:
                on_report(task, runner.run(task))
        finally:
            runner.end_child()


class _TaskRunner:
    """Runs tasks in a child, which it starts before the first task and again after each loss."""

    def __init__(self, factory: Factory, supervision: Supervision) -> None:
        self._factory = factory
        self._supervision = supervision
        self._child: _Child | None = None

    def run(self, task: Task) -> Report:
        """Try a task until it is done or given up."""
        losses = errors = 0
        while True:
            if self._child is None:
                self._child = self._start_child()
            isolate = task.isolate or losses >= LOSSES_BEFORE_ISOLATION
            outcome = self._child.run(replace(task, isolate=isolate))
            if isinstance(outcome, WorkerLoss):
                losses += 1
                self.end_child()
                if losses >= LOSSES_BEFORE_GIVING_UP:
                    return lost_for_good(task, outcome)
                continue
            if outcome.kind == "stop":
                raise UserError(outcome.report["message"], code=outcome.code)
            errors += outcome.kind == "error"
            if outcome.kind == "done" or errors >= ATTEMPTS:
                return outcome.report

    def end_child(self) -> None:
        """Kill the child, if there is one."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def _start_child(self) -> _Child:
        losses: list[str] = []
        while len(losses) < FAILED_STARTS:
            child = self._child = _Child(self._supervision)
            outcome = child.load(self._factory)
            if isinstance(outcome, WorkerLoss):
                losses.append(outcome.how)
                self.end_child()
            elif outcome.kind == "done" and "reason" not in outcome.report:
                return child
            else:
                raise UserError(f"the worker cannot start: {outcome.report['message']}", code=outcome.code)
        raise UserError(f"the worker cannot start; its process was lost each time: {', '.join(losses)}")


class _Child:
    """The driver's side of the child process."""

    def __init__(self, supervision: Supervision) -> None:
        self._supervision = supervision
        self._connection, theirs = Pipe()
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        number = self._printed.fileno()
        fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_APPEND)
        self._process = start_python(
            "datagen.runners.local_child",
            [str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=self._printed,
        )
        theirs.close()

    def load(self, factory: Factory) -> TaskOutcome | WorkerLoss:
        """Make the worker."""
        heartbeat, every_s = self._supervision.heartbeat, self._supervision.ping_s
        return self._request([(heartbeat, every_s), factory], LOADING)

    def run(self, task: Task) -> TaskOutcome | WorkerLoss:
        """Run one task."""
        os.truncate(self._printed.fileno(), 0)
        outcome = self._request([task], task)
        if isinstance(outcome, TaskOutcome) and (outcome.kind == "error" or task.isolate):
            self._append_log(task, outcome.report.get("message", "isolated"))
        return outcome

    def end(self) -> None:
        """Kill the process with everything it started."""
        kill_group(self._process)
        self._connection.close()
        self._printed.close()

    def _request(self, messages: list[object], task: Task) -> TaskOutcome | WorkerLoss:
        """Send messages and wait for the outcome they lead to."""
        watch = Watch("the worker process", task, self._supervision)
        try:
            for message in messages:
                self._connection.send_bytes(pickle.dumps(message))
            while True:
                if self._connection.poll(WAIT_S):
                    answer: TaskOutcome | None = self._connection.recv()
                    if answer is not None:
                        return answer
                    watch.answered()
                if loss := watch.check():
                    break
                self._supervision.on_wait([watch.status()])
        except (EOFError, OSError):  # the process has ended
            loss = WorkerLoss("crashed", self._describe_exit())
        self._append_log(task, loss.how)
        return loss

    def _describe_exit(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(WAIT_S)
        code = self._process.poll()
        return "closed its connection" if code is None else describe_exit(code)

    def _append_log(self, task: Task, what: str) -> None:
        append_task_log(self._supervision.logs, task, what, tail(self._printed.fileno()))
