"""Signs of life of the workers that Ray started: each tells an actor, which the command asks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trainer.train.watch import Heard, Pulse, Sign

if TYPE_CHECKING:  # the actor needs no torch
    from trainer.train.ranks import Ranks

EVERY_S = 1.0  # between two signs of a worker, and two looks at them
SUSPECT_S = 5.0  # older signs make one ask whether Ray knows the worker to be dead
PATIENCE_S = 10.0  # for the actor's answer


class Signs:
    """The newest sign of every worker; lives in an actor of its own, beside the command."""

    def __init__(self) -> None:
        self._heard: dict[int, tuple[Sign, float, Any]] = {}
        self._attempt = 0.0
        self._past: set[float] = set()

    def hear(self, sign: Sign, worker: Any) -> None:
        """Take a worker's sign; the first of a new attempt makes the one before count no more."""
        if sign.attempt in self._past:
            return
        if sign.attempt != self._attempt:
            self._forget()
            self._attempt = sign.attempt
        self._heard[sign.rank] = (sign, time.monotonic(), worker)

    def leave(self, sign: Sign) -> None:
        """The worker has finished, well or not."""
        if sign.attempt == self._attempt:
            self._heard.pop(sign.rank, None)

    def heard(self) -> dict[int, Heard]:
        """What is known of the workers at work. Those whose death Ray knows are left to it."""
        now = time.monotonic()
        suspects = {
            worker.__ray_ready__.remote(): rank
            for rank, (_, at, worker) in self._heard.items()
            if now - at > SUSPECT_S
        }
        answered, _ = ray.wait(list(suspects), num_returns=len(suspects), timeout=1) if suspects else ([], [])
        for answer in answered:
            try:
                ray.get(answer)
            except RayError:
                del self._heard[suspects[answer]]
        return {rank: Heard(sign, now - at) for rank, (sign, at, _) in self._heard.items()}

    def end(self) -> None:
        """Kill all workers; even one that is stopped goes, a few seconds later."""
        for _, _, worker in self._heard.values():
            ray.kill(worker)
        self._forget()

    def _forget(self) -> None:
        self._past.add(self._attempt)
        self._heard.clear()


def open_signs() -> Any:
    """Handle of an actor `Signs` on this node."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Signs).options(num_cpus=0, scheduling_strategy=here).remote()


def ask(signs: Any) -> dict[int, Heard] | None:
    """What the actor has heard; None where it does not answer."""
    try:
        heard: dict[int, Heard] = ray.get(signs.heard.remote(), timeout=PATIENCE_S)
    except RayError:
        return None
    return heard


@contextmanager
def giving_signs(signs: Any, ranks: Ranks) -> Iterator[Pulse]:
    """Inside the block of a worker, a thread tells the actor what its pulse says.

    Args:
        signs: of `open_signs`.
        ranks: its ranks agree on the number of the attempt.
    """
    attempt = ranks.sums([time.time() if ranks.is_main else 0.0])[0]
    place = f"process {os.getpid()} on {ray.util.get_node_ip_address()}"
    pulse, done = Pulse(Sign(attempt, ranks.rank, place)), threading.Event()
    worker = ray.get_runtime_context().current_actor

    def tell() -> None:
        while not done.is_set():
            signs.hear.remote(pulse.sign, worker)
            done.wait(EVERY_S)
        signs.leave.remote(pulse.sign)

    teller = threading.Thread(target=tell, daemon=True, name="signs of life")
    teller.start()
    try:
        yield pulse
    finally:
        done.set()
        teller.join(PATIENCE_S)
