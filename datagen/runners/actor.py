"""A process on a node that holds one worker and answers beside its work, and the driver's view of it."""

from __future__ import annotations

import faulthandler
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from datagen.runners.nodes import host_of
from datagen.runners.supervise import Fingerprint, Watch
from datagen.runners.tasks import Factory, Task, TaskOutcome, Worker, attempt, single_threaded

ANSWERS = {"answers": 1}  # one thread that takes questions while another one works


@dataclass(frozen=True)
class Place:
    """Where an actor runs.

    Attributes:
        node: Ray's id of the node.
        log: the file on that node that takes what the process prints; empty where the system does not tell.
    """

    node: str
    log: str


class _Actor:
    """A process that holds one worker."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._pulse: Callable[[], None] | None = None

    def place(self) -> Place:
        """Where it runs."""
        log = ""
        with suppress(OSError):
            log = str(Path("/proc/self/fd/2").readlink())
        return Place(ray.get_runtime_context().get_node_id(), log)

    def check(self, fingerprint: Callable[[], Fingerprint]) -> Fingerprint:
        """What this node makes bytes with."""
        return fingerprint()

    def load(self, factory: Factory, pulse: Callable[[], None] | None) -> TaskOutcome:
        """Make the worker: models are loaded here, once."""
        faulthandler.enable()
        single_threaded()
        self._pulse = pulse

        def make(_: Task) -> dict[str, Any]:
            self._worker = factory()
            return {}

        return attempt(make, Task("load", ""))

    def run(self, task: Task) -> TaskOutcome:
        """Do one task."""
        assert self._worker is not None, "load comes first"
        return attempt(self._worker, task)

    @ray.method(concurrency_group="answers")
    def ping(self) -> None:
        """Return, as long as the process runs and the pulse does not hang."""
        if self._pulse is not None:
            with suppress(Exception):
                self._pulse()


@dataclass(eq=False)
class ActorHandle:
    """The driver's view of one actor.

    Attributes:
        number: counted from 1, for messages.
        place: where it runs, once known.
        name: what to call it.
        question: the ping it has not answered yet.
        asked: when it was asked last, or its work began.
    """

    actor: Any
    number: int
    place: Place = Place("", "")
    name: str = ""
    question: Any = None
    asked: float = 0.0

    def be_at(self, place: Place) -> None:
        """Its actor was placed on a node."""
        self.place = place
        self.name = f"worker {self.number} on node {host_of(place.node)}"


def hear(busy: list[tuple[ActorHandle, Watch]], ask_s: float) -> None:
    """Ask busy actors every `ask_s` seconds whether they are well, and note the answers that have come."""
    now = time.monotonic()
    for handle, _ in busy:
        if handle.question is None and now - handle.asked >= ask_s:
            handle.question, handle.asked = handle.actor.ping.remote(), now
    asked = {handle.question: (handle, watch) for handle, watch in busy if handle.question is not None}
    if not asked:
        return
    for question in ray.wait(list(asked), num_returns=len(asked), timeout=0)[0]:
        handle, watch = asked[question]
        handle.question = None
        with suppress(RayError):  # a dead actor's task tells it
            ray.get(question)
            watch.answered()
