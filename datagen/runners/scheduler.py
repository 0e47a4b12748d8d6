"""The loop of the Ray runner: hands tasks to actors, supervises them, and replaces those that are lost."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from datagen.common.errors import UserError
from datagen.runners.actor import PING_GROUP, Actor, ActorHandle, Location, ping_actors
from datagen.runners.cluster import brief
from datagen.runners.nodes import Nodes, alive_nodes
from datagen.runners.supervise import LOADING, Fingerprint, Supervision, Watch, append_task_log, tail
from datagen.runners.tasks import (
    ATTEMPTS,
    LOSSES_BEFORE_GIVING_UP,
    LOSSES_BEFORE_ISOLATION,
    Factory,
    OnReport,
    Task,
    TaskOutcome,
    WorkerLoss,
    lost_for_good,
)

POLL_S = 2.0  # how often the capacity of the cluster is read
CHECK_S = 1.0  # how often the workers are checked
FAILED_STARTS = 5  # in a row, with no worker left
PACKAGE = "megactor-datagen"


@dataclass(frozen=True)
class _Call:
    """What an actor is busy with: start on a node, comparison of its fingerprint, start of its worker, or a task."""

    handle: ActorHandle
    step: Literal["locate", "check", "load", "run"]
    watch: Watch | None = None

    @property
    def task(self) -> Task | None:
        """The task that is lost when the actor is."""
        return self.watch.task if self.watch and self.step == "run" else None


class Scheduler:
    """The driver's loop: idle actors, the running call of each busy actor, and the waiting tasks."""

    def __init__(
        self,
        factory: Factory,
        tasks: Iterator[Task],
        on_report: OnReport,
        workers: int | None,
        supervision: Supervision,
        patience_s: float,
    ) -> None:
        self._factory = factory
        self._tasks = tasks
        self._on_report = on_report
        self._workers = workers
        self._supervision = supervision
        self._patience_s = patience_s
        self._nodes = Nodes(supervision)
        self._queue: deque[Task] = deque()  # tasks of lost actors first
        self._idle: list[ActorHandle] = []
        self._calls: dict[Any, _Call] = {}
        self._lost_on: defaultdict[str, list[tuple[str, WorkerLoss]]] = defaultdict(list)  # task key -> nodes
        self._errors: Counter[str] = Counter()
        self._started = self._failed_starts = 0
        self._stop: TaskOutcome | None = None
        self._wanted = 1  # actors the cluster should hold
        self._poll_at = self._check_at = 0.0

    def work(self) -> None:
        """Run until every task is over, or there is something only the user can solve."""
        placed_at = time.monotonic()
        try:
            while self._running() or (not self._stop and self._fill()):
                if not self._stop and time.monotonic() >= self._poll_at:
                    self._start_actors()
                while self._idle and not self._stop and self._fill():
                    self._send(self._idle.pop(), self._queue.popleft())
                self._collect()
                if self._idle or any(call.step != "locate" for call in self._calls.values()):
                    placed_at = time.monotonic()
                elif time.monotonic() - placed_at > self._patience_s:
                    raise UserError(self._nodes.no_capacity(self._patience_s))
                if time.monotonic() >= self._check_at:
                    self._check_workers()
        except RayError as error:
            raise UserError(f"lost the Ray cluster: {brief(error)}; run the same command again") from error
        finally:
            self._kill_actors()
        if self._stop:
            raise UserError(self._stop.report["message"], code=self._stop.code)

    def _running(self) -> bool:
        return any(call.step == "run" for call in self._calls.values())

    def _fill(self) -> bool:
        """Read as many tasks ahead as there may be workers; False when no task is left."""
        while len(self._queue) < self._wanted and (task := next(self._tasks, None)):
            self._queue.append(task)
        return bool(self._queue)

    def _start_actors(self) -> None:
        """Start actors while the cluster has room for more, also on nodes that joined late."""
        self._poll_at = time.monotonic() + POLL_S
        self._wanted, gpus = self._nodes.capacity(self._workers)
        self._fill()
        have = len(self._idle) + len(self._calls)
        useful = len(self._queue) + sum(call.step == "run" for call in self._calls.values())
        options: dict[str, Any] = {
            "num_cpus": 1,
            "num_gpus": gpus,
            "max_restarts": 0,
            "concurrency_groups": PING_GROUP,
            "scheduling_strategy": "SPREAD",
            **self._nodes.placement(),
        }
        remote = ray.remote(**options)(Actor)
        for _ in range(min(self._wanted, useful) - have):
            self._started += 1
            handle = ActorHandle(remote.remote(), self._started)
            self._calls[handle.actor.locate.remote()] = _Call(handle, "locate")

    def _send(self, handle: ActorHandle, task: Task) -> None:
        if task.key in self._lost_on:
            task = replace(task, isolate=task.isolate or self._losses(task) >= LOSSES_BEFORE_ISOLATION)
        self._begin(handle, "run", task, handle.actor.run.remote(task))

    def _begin(self, handle: ActorHandle, step: Literal["load", "run"], task: Task, reference: Any) -> None:
        handle.pinged_at = time.monotonic()
        self._calls[reference] = _Call(handle, step, Watch(handle.name, task, self._supervision))

    def _collect(self) -> None:
        """Wait until one call ends, or the workers are due for a check."""
        if not self._calls:
            time.sleep(min(POLL_S, self._patience_s) / 4)
            return
        ready, _ = ray.wait(list(self._calls), num_returns=1, timeout=CHECK_S)
        for reference in ready:
            call = self._calls.pop(reference)
            try:
                result = ray.get(reference)
            except RayActorError as error:
                self._lost(call, WorkerLoss("crashed", brief(error)))
                continue
            except RayTaskError as error:
                # Not an error of the worker (it comes back as an outcome), but a failed import.
                self._software_failed(call, error)
                continue
            if call.step == "locate":
                self._placed(call.handle, result)
            elif call.step == "check":
                self._checked(call.handle, result)
            elif call.step == "load":
                self._loaded(call.handle, result)
            elif call.task:
                self._idle.append(call.handle)
                self._finished(call, call.task, result)

    def _placed(self, handle: ActorHandle, location: Location) -> None:
        handle.placed(location)
        if self._supervision.fingerprint is None:
            self._checked(handle, self._supervision.expected)
        else:
            self._calls[handle.actor.check.remote(self._supervision.fingerprint)] = _Call(handle, "check")

    def _checked(self, handle: ActorHandle, found: Fingerprint) -> None:
        if self._nodes.check(handle.location.node, found):
            loading = handle.actor.load.remote(self._factory, self._supervision.heartbeat)
            self._begin(handle, "load", LOADING, loading)
        else:
            self._refused(handle)

    def _software_failed(self, call: _Call, error: RayTaskError) -> None:
        cause = f"{PACKAGE} does not work there: {brief(error.cause)}"
        if call.step == "check":
            self._nodes.refuse(call.handle.location.node, cause)
            self._refused(call.handle)
        else:
            self._stop = _user_must_act(f"on a node of the cluster {cause}")

    def _refused(self, handle: ActorHandle) -> None:
        ray.kill(handle.actor)
        self._poll_at = 0.0
        if self._nodes.all_refused():
            why = next(iter(self._nodes.refused.values()))
            self._stop = _user_must_act(
                f"no node of the cluster makes the same bytes as this run: {why}; install the same everywhere"
            )

    def _loaded(self, handle: ActorHandle, outcome: TaskOutcome) -> None:
        if outcome.kind != "done" or "reason" in outcome.report:
            self._stop = _user_must_act(f"a worker cannot start: {outcome.report['message']}")
            return
        self._failed_starts = 0
        self._idle.append(handle)

    def _finished(self, call: _Call, task: Task, outcome: TaskOutcome) -> None:
        if outcome.kind == "stop":
            self._stop = outcome
            return
        if outcome.kind == "error" or task.isolate:
            self._append_log(call, task, outcome.report.get("message", "isolated"))
        if outcome.kind == "error":
            self._errors[task.key] += 1
            if self._errors[task.key] < ATTEMPTS:
                self._queue.append(task)  # put last, so that another actor probably takes it
                return
        self._on_report(task, outcome.report)

    def _lost(self, call: _Call, loss: WorkerLoss) -> None:
        """An actor is lost: its task is tried again, unless it was lost too often."""
        self._poll_at = 0.0
        task = call.task
        if task is None:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS and not self._idle and not self._running():
                self._stop = _user_must_act(f"workers are lost while they start: {loss.how}")
            return
        self._append_log(call, task, loss.how)
        self._lost_on[task.key].append((call.handle.location.node, loss))
        if self._losses(task) >= LOSSES_BEFORE_GIVING_UP:
            self._on_report(task, lost_for_good(task, loss))
        else:
            self._queue.appendleft(task)

    def _losses(self, task: Task) -> int:
        """How often the task was lost with its process; losses by crash on nodes that died since do not count.

        Ray may notice only after the loss that the node is dead.
        """
        alive = {node["NodeID"] for node in alive_nodes()}
        return sum(node in alive or loss.reason == "timeout" for node, loss in self._lost_on[task.key])

    def _check_workers(self) -> None:
        """Ping busy workers, and give up those that are over their limit or do not answer."""
        self._check_at = time.monotonic() + CHECK_S
        busy = [(reference, call, call.watch) for reference, call in self._calls.items() if call.watch]
        ping_actors([(call.handle, watch) for _, call, watch in busy], self._supervision.ping_s)
        for reference, call, watch in busy:
            if loss := watch.check():
                del self._calls[reference]
                ray.kill(call.handle.actor)  # the node kills a stopped process too, a few seconds later
                self._lost(call, loss)
        self._supervision.on_wait([watch.status() for _, _, watch in busy])

    def _append_log(self, call: _Call, task: Task, what: str) -> None:
        """Append what happened to the task's log, with the last lines of the process where they can be read here."""
        log, printed = call.handle.location.log, ""
        with suppress(OSError), open(log, "rb") as file:
            printed = tail(file.fileno())
        append_task_log(
            self._supervision.logs, task, f"{what} ({call.handle.name}, its log: {log or 'unknown'})", printed
        )

    def _kill_actors(self) -> None:
        if ray.is_initialized():
            for handle in (*self._idle, *(call.handle for call in self._calls.values())):
                ray.kill(handle.actor)


def _user_must_act(message: str) -> TaskOutcome:
    return TaskOutcome("stop", {"message": message})
