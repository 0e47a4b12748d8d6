"""A Ray actor that holds one worker and answers pings while it works, and the driver's handle of it."""

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
from datagen.runners.supervise import LOADING, Fingerprint, Watch
from datagen.runners.tasks import Factory, Report, Task, TaskOutcome, Worker, attempt, single_threaded

PING_GROUP = {"pings": 1}  # a thread that answers pings while another one works


@dataclass(frozen=True)
class Location:
    """Where an actor runs.

    Attributes:
        node: Ray's id of the node.
        log: the file on that node that holds what the process prints; empty where it cannot be found out.
    """

    node: str
    log: str


class Actor:
    """A process that holds one worker."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._heartbeat: Callable[[], None] | None = None

    def locate(self) -> Location:
        """Where it runs."""
        log = ""
        with suppress(OSError):
            log = str(Path("/proc/self/fd/2").readlink())
        return Location(ray.get_runtime_context().get_node_id(), log)

    def check(self, fingerprint: Callable[[], Fingerprint]) -> Fingerprint:
        """The fingerprint of this node."""
        return fingerprint()

    def load(self, factory: Factory, heartbeat: Callable[[], None] | None) -> TaskOutcome:
        """Make the worker: models are loaded here, once."""
        faulthandler.enable()
        single_threaded()
        self._heartbeat = heartbeat

        def make(_: Task) -> Report:
            self._worker = factory()
            return {}

        return attempt(make, LOADING)

    def run(self, task: Task) -> TaskOutcome:
        """Run one task."""
        assert self._worker is not None, "load comes first"
        return attempt(self._worker, task)

    @ray.method(concurrency_group="pings")
    def ping(self) -> None:
        """Return, as long as the process runs and the heartbeat returns."""
        if self._heartbeat is not None:
            with suppress(Exception):
                self._heartbeat()


@dataclass(eq=False)
class ActorHandle:
    """The driver's handle of one actor.

    Attributes:
        number: counted from 1, for messages.
        location: where the actor runs, once known.
        name: the actor's name in messages, once it was placed.
        ping: the ping it has not answered yet.
        pinged_at: time of the last ping, or of the start of its work.
    """

    actor: Any
    number: int
    location: Location = Location("", "")
    name: str = ""
    ping: Any = None
    pinged_at: float = 0.0

    def placed(self, location: Location) -> None:
        """Note the node that its actor was placed on."""
        self.location = location
        self.name = f"worker {self.number} on node {host_of(location.node)}"


def ping_actors(busy: list[tuple[ActorHandle, Watch]], ping_s: float) -> None:
    """Ping busy actors every `ping_s` seconds, and note the answers that have come."""
    now = time.monotonic()
    for handle, _ in busy:
        if handle.ping is None and now - handle.pinged_at >= ping_s:
            handle.ping, handle.pinged_at = handle.actor.ping.remote(), now
    pinged = {handle.ping: (handle, watch) for handle, watch in busy if handle.ping is not None}
    if not pinged:
        return
    for ping in ray.wait(list(pinged), num_returns=len(pinged), timeout=0)[0]:
        handle, watch = pinged[ping]
        handle.ping = None
        with suppress(RayError):  # the result of the dead actor's task shows its death
            ray.get(ping)
            watch.answered()
