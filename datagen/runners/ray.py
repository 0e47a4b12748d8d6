"""Tasks pulled by Ray actors: workers may die, nodes may go and come, the driver never waits for the dead.

Nothing is assigned ahead: an idle actor gets the next task, a lost actor's task goes back to the front. Ray
restarts nothing itself (`max_restarts=0`), since tasks bound to a restarting actor wait for its node. What
travels is tasks and counters. Every node of a joined cluster needs the same version of the package, and the
output folder under the same path.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any, Literal

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from datagen.errors import UserError
from datagen.runners.cluster import brief, connected
from datagen.runners.tasks import (
    ATTEMPTS,
    LOSSES_BEFORE_GIVING_UP,
    LOSSES_BEFORE_ISOLATION,
    Factory,
    OnReport,
    Outcome,
    Task,
    attempt,
    given_up,
    interruptible,
    single_threaded,
)

POLL_S = 2.0  # how often the cluster is asked for room
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
    timeout_s: float | None = None,
    patience_s: float = PATIENCE_S,
) -> None:
    """Do all tasks with Ray actors.

    Args:
        factory: makes a worker in each actor; must be importable on the nodes.
        tasks: may be a generator; it is read as far ahead as there are workers.
        on_report: called here for each task that is over, in the order they finish.
        address: cluster to join (`auto`, `host:port`, `ray://...`), default `RAY_ADDRESS`, else a local Ray
            is started and shut down at the end.
        workers: actors, one CPU each; default one per GPU where the cluster has GPUs, else one per CPU. More
            workers than GPUs share them.
        timeout_s: an actor that takes longer over a task is killed, which counts as a crash of the task.
        patience_s: how long to wait while no worker can be placed on any node.

    Raises:
        UserError: a worker says that the user must act (tasks in flight are finished first), no worker can be
            placed or started, or the cluster is gone.
    """
    with (
        interruptible(),
        connected(address, workers),
        interruptible(),
    ):  # ray.init sets its own SIGTERM handler
        _Pool(factory, iter(tasks), on_report, workers, timeout_s, patience_s).work()


class _Actor:
    """A process that holds one worker."""

    def node(self) -> tuple[str, str]:
        """Where it runs, and the version of the package there."""
        return ray.get_runtime_context().get_node_id(), _version()

    def load(self, factory: Factory) -> Outcome:
        """Make the worker: models are loaded here, once."""
        single_threaded()

        def make(_: Task) -> dict[str, Any]:
            self._worker = factory()
            return {}

        return attempt(make, Task("load", ""))

    def run(self, task: Task) -> Outcome:
        """Do one task."""
        return attempt(self._worker, task)


@dataclass(eq=False)
class _Hand:
    """The driver's view of one actor."""

    actor: Any
    node: str = ""


@dataclass(frozen=True)
class _Call:
    """What an actor is busy with: being placed on a node, loading its worker, or running a task."""

    hand: _Hand
    step: Literal["place", "load", "run"]
    task: Task | None = None
    since: float = 0.0


class _Pool:
    """The driver's loop: who is idle, who is busy with what, which tasks came back."""

    def __init__(
        self,
        factory: Factory,
        tasks: Iterator[Task],
        on_report: OnReport,
        workers: int | None,
        timeout_s: float | None,
        patience_s: float,
    ) -> None:
        self._factory = factory
        self._tasks = tasks
        self._on_report = on_report
        self._workers = workers
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._queue: deque[Task] = deque()  # next tasks, those that came back first
        self._idle: list[_Hand] = []
        self._calls: dict[Any, _Call] = {}
        self._lost_on: defaultdict[str, list[str]] = defaultdict(list)  # task -> nodes
        self._errors: Counter[str] = Counter()
        self._failed_starts = 0
        self._stop: Outcome | None = None
        self._wanted = 1
        self._poll_at = 0.0

    def work(self) -> None:
        """Until every task is over, or the user must act."""
        alive_at = time.monotonic()
        try:
            while self._running() or (not self._stop and self._fill()):
                if not self._stop and time.monotonic() >= self._poll_at:
                    self._hire()
                while self._idle and not self._stop and self._fill():
                    self._send(self._idle.pop(), self._queue.popleft())
                self._collect()
                if self._idle or any(call.step != "place" for call in self._calls.values()):
                    alive_at = time.monotonic()
                elif time.monotonic() - alive_at > self._patience_s:
                    raise UserError(_nobody(self._patience_s))
                self._kill_overdue()
        except RayError as error:
            raise UserError(f"lost the Ray cluster: {brief(error)}; run the same command again") from error
        finally:
            self._dismiss()
        if self._stop:
            raise UserError(self._stop.report["message"], code=self._stop.code)

    def _running(self) -> bool:
        return any(call.step == "run" for call in self._calls.values())

    def _fill(self) -> bool:
        """Read tasks ahead, as many as there may be workers; False when none is left."""
        while len(self._queue) < self._wanted and (task := next(self._tasks, None)):
            self._queue.append(task)
        return bool(self._queue)

    def _hire(self) -> None:
        """Start actors where the cluster has room, also on nodes that came late."""
        self._poll_at = time.monotonic() + POLL_S
        self._wanted, gpus = _room(self._workers)
        self._fill()
        have = len(self._idle) + len(self._calls)
        useful = len(self._queue) + sum(call.step == "run" for call in self._calls.values())
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, scheduling_strategy="SPREAD")(_Actor)
        for _ in range(min(self._wanted, useful) - have):
            hand = _Hand(remote.remote())
            self._calls[hand.actor.node.remote()] = _Call(hand, "place")

    def _send(self, hand: _Hand, task: Task) -> None:
        if task.key in self._lost_on:
            task = replace(task, isolate=task.isolate or self._crashes(task) >= LOSSES_BEFORE_ISOLATION)
        self._calls[hand.actor.run.remote(task)] = _Call(hand, "run", task, time.monotonic())

    def _collect(self) -> None:
        """Wait for one call to end, or for the next look at the cluster."""
        if not self._calls:
            time.sleep(min(POLL_S, self._patience_s) / 4)
            return
        ready, _ = ray.wait(list(self._calls), num_returns=1, timeout=POLL_S)
        for reference in ready:
            call = self._calls.pop(reference)
            try:
                result = ray.get(reference)
            except RayActorError as error:
                self._lost(call, error)
                continue
            except RayTaskError as error:  # the worker's own errors are outcomes: this one is about imports
                self._stop = _must_act(f"{PACKAGE} does not work on a node of the cluster: {error.cause}")
                continue
            if call.step == "place":
                self._placed(call.hand, *result)
            elif call.step == "load":
                self._loaded(call.hand, result)
            elif call.task:
                self._idle.append(call.hand)
                self._finished(call.task, result)

    def _placed(self, hand: _Hand, node: str, version: str) -> None:
        if version != _version():
            self._stop = _must_act(
                f"a node has {PACKAGE} {version}, the driver {_version()}; install the same"
            )
            return
        hand.node = node
        self._calls[hand.actor.load.remote(self._factory)] = _Call(hand, "load")

    def _loaded(self, hand: _Hand, outcome: Outcome) -> None:
        if outcome.kind != "done" or "reason" in outcome.report:
            self._stop = _must_act(f"a worker cannot start: {outcome.report['message']}")
            return
        self._failed_starts = 0
        self._idle.append(hand)

    def _finished(self, task: Task, outcome: Outcome) -> None:
        if outcome.kind == "stop":
            self._stop = outcome
            return
        if outcome.kind == "error":
            self._errors[task.key] += 1
            if self._errors[task.key] < ATTEMPTS:
                self._queue.append(task)  # last in line: most likely another actor gets it
                return
        self._on_report(task, outcome.report)

    def _lost(self, call: _Call, error: RayActorError) -> None:
        """An actor's process died: its task goes back, unless it killed process after process."""
        self._poll_at = 0.0
        if call.task is None:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS and not self._idle and not self._running():
                self._stop = _must_act(f"workers die while they start: {brief(error)}")
            return
        self._lost_on[call.task.key].append(call.hand.node)
        if self._crashes(call.task) >= LOSSES_BEFORE_GIVING_UP:
            self._on_report(call.task, given_up("crashed", "the task killed its process, also when isolated"))
        else:
            self._queue.appendleft(call.task)

    def _crashes(self, task: Task) -> int:
        """How often the task was lost; not counted are nodes gone by now (Ray takes a while to notice)."""
        living = {node["NodeID"] for node in _living()}
        return sum(node in living for node in self._lost_on[task.key])

    def _kill_overdue(self) -> None:
        for call in self._calls.values():
            if self._timeout_s and call.task and time.monotonic() - call.since > self._timeout_s:
                ray.kill(call.hand.actor)

    def _dismiss(self) -> None:
        if ray.is_initialized():
            for hand in (*self._idle, *(call.hand for call in self._calls.values())):
                ray.kill(hand.actor)


def _room(workers: int | None) -> tuple[int, float]:
    """How many actors the living nodes should hold, and the share of a GPU for each."""
    cpus, gpus = int(_sum("CPU")), _sum("GPU")
    if gpus < 1:
        return min(workers or cpus, cpus), 0
    count = min(workers or int(gpus), cpus)
    return count, 1 if count <= gpus else int(1000 * gpus / count) / 1000


def _must_act(message: str) -> Outcome:
    return Outcome("stop", {"message": message})


def _nobody(seconds: float) -> str:
    return (
        f"no worker could be placed for {seconds:g} s: the cluster has {_sum('CPU'):g} CPUs and "
        f"{_sum('GPU'):g} GPUs, and each worker needs a free CPU; finished units are kept, "
        "run the same command again when there is room"
    )


def _sum(resource: str) -> float:
    return sum(node["Resources"].get(resource, 0.0) for node in _living())


def _living() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _version() -> str:
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return "not installed"
