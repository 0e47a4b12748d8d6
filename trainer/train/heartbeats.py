"""Heartbeats of the workers that Ray started: each worker sends them to an actor, and the command asks the actor."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trainer.train.watchdog import ActivityRecorder, Received, WorkerHeartbeat

if TYPE_CHECKING:  # the actor needs no torch
    from trainer.train.ranks import Ranks

INTERVAL_S = 1.0  # between two heartbeats of a worker, and between two checks of them
SUSPECT_S = 5.0  # after this time without a heartbeat, ask Ray whether the worker is dead
ANSWER_S = 10.0  # longest wait for the actor's answer

logger = logging.getLogger(__name__)


class HeartbeatCollector:
    """The newest heartbeat of every worker. It runs as a Ray actor on the node of the command."""

    def __init__(self) -> None:
        self._newest: dict[int, tuple[WorkerHeartbeat, float, Any]] = {}
        self._attempt = 0.0
        self._past_attempts: set[float] = set()

    def receive(self, heartbeat: WorkerHeartbeat, worker: Any) -> None:
        """Take a worker's heartbeat. The first one of a new attempt invalidates those of earlier attempts."""
        if heartbeat.attempt in self._past_attempts:
            return
        if heartbeat.attempt != self._attempt:
            self._forget()
            self._attempt = heartbeat.attempt
        self._newest[heartbeat.rank] = (heartbeat, time.monotonic(), worker)

    def finish(self, heartbeat: WorkerHeartbeat) -> None:
        """The worker has finished, with or without an error."""
        if heartbeat.attempt == self._attempt:
            self._newest.pop(heartbeat.rank, None)

    def received(self) -> dict[int, Received]:
        """The newest heartbeat of each running worker. Workers that Ray knows to be dead are left out."""
        now = time.monotonic()
        suspects = {
            worker.__ray_ready__.remote(): rank
            for rank, (_, at, worker) in self._newest.items()
            if now - at > SUSPECT_S
        }
        answered, _ = ray.wait(list(suspects), num_returns=len(suspects), timeout=1) if suspects else ([], [])
        for answer in answered:
            try:
                ray.get(answer)
            except RayError:
                del self._newest[suspects[answer]]
        return {rank: Received(heartbeat, now - at) for rank, (heartbeat, at, _) in self._newest.items()}

    def kill_workers(self) -> None:
        """Kill all workers; one that is stopped (SIGSTOP) ends too, a few seconds later."""
        for _, _, worker in self._newest.values():
            ray.kill(worker)
        self._forget()

    def _forget(self) -> None:
        self._past_attempts.add(self._attempt)
        self._newest.clear()


def start_collector() -> Any:
    """Handle of a `HeartbeatCollector` actor on this node."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(HeartbeatCollector).options(num_cpus=0, scheduling_strategy=here).remote()


def received_heartbeats(collector: Any) -> dict[int, Received] | None:
    """What the actor has received; None where it does not answer."""
    try:
        received: dict[int, Received] = ray.get(collector.received.remote(), timeout=ANSWER_S)
    except RayError as error:
        logger.info("the heartbeat collector does not answer: %s", error)
        return None
    return received


@contextmanager
def sending_heartbeats(collector: Any, ranks: Ranks) -> Iterator[ActivityRecorder]:
    """Inside the block, a thread of the worker sends what its recorder holds to the actor.

    Args:
        collector: what `start_collector` returned.
        ranks: all of them agree on the number of the attempt here.
    """
    attempt = ranks.sums([time.time() if ranks.is_main else 0.0])[0]
    place = f"process {os.getpid()} on {ray.util.get_node_ip_address()}"
    recorder, done = ActivityRecorder(WorkerHeartbeat(attempt, ranks.rank, place)), threading.Event()
    worker = ray.get_runtime_context().current_actor

    def send() -> None:
        while not done.is_set():
            collector.receive.remote(recorder.heartbeat, worker)
            done.wait(INTERVAL_S)
        collector.finish.remote(recorder.heartbeat)

    sender = threading.Thread(target=send, daemon=True, name="heartbeats")
    sender.start()
    try:
        yield recorder
    finally:
        done.set()
        sender.join(ANSWER_S)
