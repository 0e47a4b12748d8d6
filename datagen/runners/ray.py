"""Tasks pulled by Ray actors: workers may die, nodes may go and come, the driver never waits for the dead.

Nothing is assigned ahead: an idle actor gets the next task, a lost actor's task goes back to the front. Ray
restarts nothing itself (`max_restarts=0`), since tasks bound to a restarting actor wait for its node. What
travels is tasks and counters. Every node of a joined cluster needs the same software (others are left out), and the
output folder under the same path.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from datagen.common.errors import UserError
from datagen.runners.actor import ANSWERS, ActorHandle, Place, _Actor, hear
from datagen.runners.cluster import brief, connected
from datagen.runners.nodes import Nodes, living
from datagen.runners.supervise import LOAD_S, Fingerprint, Supervision, Watch, keep_lines, last_lines
from datagen.runners.tasks import (
    ATTEMPTS,
    LOSSES_BEFORE_GIVING_UP,
    LOSSES_BEFORE_ISOLATION,
    Factory,
    Loss,
    OnReport,
    Task,
    TaskOutcome,
    interruptible,
    lost_for_good,
)

POLL_S = 2.0  # how often the cluster is asked for room
LOOK_S = 1.0  # how often the workers are looked after
PATIENCE_S = 120.0  # without a single worker placed on a node
FAILED_STARTS = 5  # in a row, with no worker left
PACKAGE = "megactor-datagen"


def run_ray(
    factory: Factory,
    tasks: Iterable[Task],
    on_report: OnReport,
    *,
    address: str | None = None,
    workers: int | None = None,
    supervision: Supervision = Supervision(),  # noqa: B008 - frozen
    patience_s: float = PATIENCE_S,
) -> None:
    """Do all tasks with Ray actors.

    An actor that dies, takes longer than its task's limit or does not answer is replaced, and its task tried again;
    after `LOSSES_BEFORE_ISOLATION` losses isolated.

    Args:
        factory: makes a worker in each actor; must be importable on the nodes.
        tasks: may be a generator; it is read as far ahead as there are workers.
        on_report: called here for each task that is over, in the order they finish.
        address: cluster to join (`auto`, `host:port`, `ray://...`), default `RAY_ADDRESS`, else a local Ray
            is started and shut down at the end.
        workers: actors, one CPU each; default one per GPU where the cluster has GPUs, else one per CPU. More
            workers than GPUs share them.
        supervision: how the workers are looked after, and what their nodes must have.
        patience_s: how long to wait while no worker can be placed on any node.

    Raises:
        UserError: a worker says that the user must act (tasks in flight are finished first), no worker can be
            placed or started, no node has the right software, or the cluster is gone.
    """
    with (
        interruptible(),
        connected(address, workers),
        interruptible(),
    ):  # ray.init sets its own SIGTERM handler
        _Scheduler(factory, iter(tasks), on_report, workers, supervision, patience_s).work()


@dataclass(frozen=True)
class _Call:
    """What an actor is busy with: being placed on a node, checked, loading its worker, or running a task."""

    handle: ActorHandle
    step: Literal["place", "check", "load", "run"]
    watch: Watch | None = None

    @property
    def task(self) -> Task | None:
        """The task that is lost when the actor is."""
        return self.watch.task if self.watch and self.step == "run" else None


class _Scheduler:
    """The driver's loop: who is idle, who is busy with what, which tasks came back."""

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
        self._queue: deque[Task] = deque()  # next tasks, those that came back first
        self._idle: list[ActorHandle] = []
        self._calls: dict[Any, _Call] = {}
        self._lost_on: defaultdict[str, list[tuple[str, Loss]]] = defaultdict(list)  # task -> nodes
        self._errors: Counter[str] = Counter()
        self._hired = self._failed_starts = 0
        self._stop: TaskOutcome | None = None
        self._wanted = 1
        self._poll_at = self._look_at = 0.0

    def work(self) -> None:
        """Until every task is over, or the user must act."""
        alive_at = time.monotonic()
        try:
            while self._running() or (not self._stop and self._fill()):
                if not self._stop and time.monotonic() >= self._poll_at:
                    self._start_actor()
                while self._idle and not self._stop and self._fill():
                    self._send(self._idle.pop(), self._queue.popleft())
                self._collect()
                if self._idle or any(call.step != "place" for call in self._calls.values()):
                    alive_at = time.monotonic()
                elif time.monotonic() - alive_at > self._patience_s:
                    raise UserError(self._nodes.nobody(self._patience_s))
                if time.monotonic() >= self._look_at:
                    self._look_after()
        except RayError as error:
            raise UserError(f"lost the Ray cluster: {brief(error)}; run the same command again") from error
        finally:
            self._kill_actors()
        if self._stop:
            raise UserError(self._stop.report["message"], code=self._stop.code)

    def _running(self) -> bool:
        return any(call.step == "run" for call in self._calls.values())

    def _fill(self) -> bool:
        """Read tasks ahead, as many as there may be workers; False when none is left."""
        while len(self._queue) < self._wanted and (task := next(self._tasks, None)):
            self._queue.append(task)
        return bool(self._queue)

    def _start_actor(self) -> None:
        """Start actors where the cluster has room, also on nodes that came late."""
        self._poll_at = time.monotonic() + POLL_S
        self._wanted, gpus = self._nodes.room(self._workers)
        self._fill()
        have = len(self._idle) + len(self._calls)
        useful = len(self._queue) + sum(call.step == "run" for call in self._calls.values())
        options: dict[str, Any] = {
            "num_cpus": 1,
            "num_gpus": gpus,
            "max_restarts": 0,
            "concurrency_groups": ANSWERS,
            "scheduling_strategy": "SPREAD",
            **self._nodes.placement(),
        }
        remote = ray.remote(**options)(_Actor)
        for _ in range(min(self._wanted, useful) - have):
            self._hired += 1
            handle = ActorHandle(remote.remote(), self._hired)
            self._calls[handle.actor.place.remote()] = _Call(handle, "place")

    def _send(self, handle: ActorHandle, task: Task) -> None:
        if task.key in self._lost_on:
            task = replace(task, isolate=task.isolate or self._losses(task) >= LOSSES_BEFORE_ISOLATION)
        self._begin(handle, "run", task, handle.actor.run.remote(task))

    def _begin(self, handle: ActorHandle, step: Literal["load", "run"], task: Task, reference: Any) -> None:
        handle.asked = time.monotonic()
        self._calls[reference] = _Call(handle, step, Watch(handle.name, task, self._supervision))

    def _collect(self) -> None:
        """Wait for one call to end, or for the next look at the workers."""
        if not self._calls:
            time.sleep(min(POLL_S, self._patience_s) / 4)
            return
        ready, _ = ray.wait(list(self._calls), num_returns=1, timeout=LOOK_S)
        for reference in ready:
            call = self._calls.pop(reference)
            try:
                result = ray.get(reference)
            except RayActorError as error:
                self._lost(call, Loss("crashed", brief(error)))
                continue
            except RayTaskError as error:  # the worker's own errors are outcomes: this one is about imports
                self._does_not_work(call, error)
                continue
            if call.step == "place":
                self._placed(call.handle, result)
            elif call.step == "check":
                self._checked(call.handle, result)
            elif call.step == "load":
                self._loaded(call.handle, result)
            elif call.task:
                self._idle.append(call.handle)
                self._finished(call, call.task, result)

    def _placed(self, handle: ActorHandle, place: Place) -> None:
        handle.be_at(place)
        if self._supervision.fingerprint is None:
            self._checked(handle, self._supervision.expected)
        else:
            self._calls[handle.actor.check.remote(self._supervision.fingerprint)] = _Call(handle, "check")

    def _checked(self, handle: ActorHandle, found: Fingerprint) -> None:
        if self._nodes.check(handle.place.node, found):
            loading = handle.actor.load.remote(self._factory, self._supervision.pulse)
            self._begin(handle, "load", Task("load", "of models", limit_s=LOAD_S), loading)
        else:
            self._refused(handle)

    def _does_not_work(self, call: _Call, error: RayTaskError) -> None:
        cause = f"{PACKAGE} does not work there: {brief(error.cause)}"
        if call.step == "check":
            self._nodes.refuse(call.handle.place.node, cause)
            self._refused(call.handle)
        else:
            self._stop = _must_act(f"on a node of the cluster {cause}")

    def _refused(self, handle: ActorHandle) -> None:
        ray.kill(handle.actor)
        self._poll_at = 0.0
        if self._nodes.none_fits():
            why = next(iter(self._nodes.refused.values()))
            self._stop = _must_act(
                f"no node of the cluster makes the same bytes as this run: {why}; install the same everywhere"
            )

    def _loaded(self, handle: ActorHandle, outcome: TaskOutcome) -> None:
        if outcome.kind != "done" or "reason" in outcome.report:
            self._stop = _must_act(f"a worker cannot start: {outcome.report['message']}")
            return
        self._failed_starts = 0
        self._idle.append(handle)

    def _finished(self, call: _Call, task: Task, outcome: TaskOutcome) -> None:
        if outcome.kind == "stop":
            self._stop = outcome
            return
        if outcome.kind == "error" or task.isolate:
            self._keep(call, task, outcome.report.get("message", "isolated"))
        if outcome.kind == "error":
            self._errors[task.key] += 1
            if self._errors[task.key] < ATTEMPTS:
                self._queue.append(task)  # last in line: most likely another actor gets it
                return
        self._on_report(task, outcome.report)

    def _lost(self, call: _Call, loss: Loss) -> None:
        """An actor is gone: its task goes back, unless it took process after process with it."""
        self._poll_at = 0.0
        task = call.task
        if task is None:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS and not self._idle and not self._running():
                self._stop = _must_act(f"workers are lost while they start: {loss.how}")
            return
        self._keep(call, task, loss.how)
        self._lost_on[task.key].append((call.handle.place.node, loss))
        if self._losses(task) >= LOSSES_BEFORE_GIVING_UP:
            self._on_report(task, lost_for_good(task, loss))
        else:
            self._queue.appendleft(task)

    def _losses(self, task: Task) -> int:
        """How often the task took a process with it; nodes gone by now (Ray is slow to notice) do not count."""
        there = {node["NodeID"] for node in living()}
        return sum(node in there or loss.reason == "timeout" for node, loss in self._lost_on[task.key])

    def _look_after(self) -> None:
        """Ask busy workers whether they are well, and give up those that are late or silent."""
        self._look_at = time.monotonic() + LOOK_S
        busy = [(reference, call, call.watch) for reference, call in self._calls.items() if call.watch]
        hear([(call.handle, watch) for _, call, watch in busy], self._supervision.ask_s)
        for reference, call, watch in busy:
            if loss := watch.look():
                del self._calls[reference]
                ray.kill(call.handle.actor)  # also one that is stopped: its node ends it after a few seconds
                self._lost(call, loss)
        self._supervision.on_wait([watch.doing() for _, _, watch in busy])

    def _keep(self, call: _Call, task: Task, what: str) -> None:
        """Keep what the process printed last, where its log can be read from here."""
        log, printed = call.handle.place.log, ""
        with suppress(OSError), open(log, "rb") as file:
            printed = last_lines(file.fileno())
        keep_lines(
            self._supervision.logs, task, f"{what} ({call.handle.name}, its log: {log or 'unknown'})", printed
        )

    def _kill_actors(self) -> None:
        if ray.is_initialized():
            for handle in (*self._idle, *(call.handle for call in self._calls.values())):
                ray.kill(handle.actor)


def _must_act(message: str) -> TaskOutcome:
    return TaskOutcome("stop", {"message": message})
