"""Decides from their heartbeats whether the workers of a run make progress.

A worker that is stopped, or whose node is frozen, sends no heartbeat. One that hangs sends heartbeats, but no worker
makes progress, since the others wait for it. Both are reported after some time. After the limit all workers are
killed, so that a new attempt can start from the newest checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the actor that collects heartbeats needs no torch
    from trainer.train.config import Watching

Activity = Literal["starting", "waiting for data", "training", "saving", "validating"]

LONG_ACTIVITIES: frozenset[Activity] = frozenset({"starting", "saving", "validating"})
LONG_FACTOR = 10.0  # the limits of long activities are this many times as long
SLOWEST_STEP_FACTOR = 10.0  # a standstill is at least this many times as long as the slowest step so far
MAX_GAP_S = (
    15.0  # between two checks; after a longer gap this process was stopped too and cannot judge the others
)
SILENT_WARNING, STILL_WARNING = 1 / 2, 1 / 5  # share of the limit after which a warning is printed


@dataclass(frozen=True)
class WorkerHeartbeat:
    """What a worker reports about itself.

    Attributes:
        attempt: unique number of the start of all workers to which it belongs.
        rank: the worker's rank.
        place: process and node of the worker, for messages.
        step: optimiser steps done.
        activity: the worker's current activity.
        changes: how many activities it has begun; it grows as long as the worker makes progress.
        slowest_s: longest time of a step so far, 0 before the second step.
    """

    attempt: float
    rank: int
    place: str
    step: int = 0
    activity: Activity = "starting"
    changes: int = 0
    slowest_s: float = 0.0


class ActivityRecorder:
    """The newest heartbeat of this process: the training loop updates it, another thread may read it."""

    def __init__(self, heartbeat: WorkerHeartbeat | None = None) -> None:
        self.heartbeat = heartbeat or WorkerHeartbeat(0.0, 0, "this process")
        self._first_step: int | None = None
        self._step_began: float | None = None

    def record(self, activity: Activity, step: int) -> None:
        """The process begins an activity after `step` steps. Its first step counts as part of the start."""
        now, slowest = time.monotonic(), self.heartbeat.slowest_s
        self._first_step = step if self._first_step is None else self._first_step
        if step == self._first_step and activity not in LONG_ACTIVITIES:
            activity = "starting"
        if step > self.heartbeat.step and self._step_began is not None:
            slowest = max(slowest, now - self._step_began)
        if step > self.heartbeat.step or self._step_began is None:
            self._step_began = now
        if activity in LONG_ACTIVITIES:
            self._step_began = None
        changes = self.heartbeat.changes + 1
        self.heartbeat = replace(
            self.heartbeat, activity=activity, step=step, changes=changes, slowest_s=slowest
        )


@dataclass(frozen=True)
class Received:
    """A heartbeat, and how many seconds ago it arrived."""

    heartbeat: WorkerHeartbeat
    age_s: float


@dataclass(frozen=True)
class Verdict:
    """A line to print, if any, and whether all workers must be killed."""

    line: str | None = None
    end: bool = False


class Watchdog:
    """Judges the workers by their heartbeats, one check after the other."""

    def __init__(self, limits: Watching) -> None:
        self._limits = limits
        self._changes: dict[tuple[float, int], int] = {}
        self._progress_at = 0.0
        self._checked_at = self._watched_since = -math.inf
        self._warned = False

    def check(self, received: Mapping[int, Received], now: float) -> Verdict:
        """Compare the heartbeats with those of the last check.

        Args:
            received: the newest heartbeat of each running rank.
            now: seconds, of a monotonic clock.
        """
        if now - self._checked_at > MAX_GAP_S:
            self._watched_since = self._progress_at = now
        self._checked_at = now
        changes = {(item.heartbeat.attempt, rank): item.heartbeat.changes for rank, item in received.items()}
        if changes != self._changes:
            self._changes, self._progress_at = changes, now
        if not received:
            self._warned = False
            return Verdict()
        is_long = any(item.heartbeat.activity in LONG_ACTIVITIES for item in received.values())
        factor = LONG_FACTOR if is_long else 1.0
        slowest_s = max(item.heartbeat.slowest_s for item in received.values())
        silent_limit = self._limits.silent_s * factor
        still_limit = max(self._limits.still_s, SLOWEST_STEP_FACTOR * slowest_s) * factor
        silent_s = min(max(item.age_s for item in received.values()), now - self._watched_since)
        still_s = now - self._progress_at
        if silent_s >= silent_limit * SILENT_WARNING:
            what, limit = _silence(received, silent_limit * SILENT_WARNING), silent_limit
        elif still_s >= still_limit * STILL_WARNING:
            what, limit = _standstill(received, still_s, slowest_s), still_limit
        else:
            line = "the workers make progress again" if self._warned else None
            self._warned = False
            return Verdict(line)
        if silent_s >= silent_limit or still_s >= still_limit:
            self._warned = False
            return Verdict(f"{what}; all workers are killed", end=True)
        if self._warned:
            return Verdict()
        self._warned = True
        return Verdict(f"{what}; after {limit:.0f} s all workers are killed and started again")


def _silence(received: Mapping[int, Received], least_s: float) -> str:
    silent = [item for item in received.values() if item.age_s >= least_s]
    age_s, step = max(item.age_s for item in silent), min(item.heartbeat.step for item in silent)
    names = " and ".join(_name(item.heartbeat) for item in silent)
    return (
        f"no heartbeat for {age_s:.0f} s, after step {step}, from {names}: "
        f"the process is stopped, or its node does not respond"
    )


def _standstill(received: Mapping[int, Received], still_s: float, slowest_s: float) -> str:
    heartbeats = [item.heartbeat for item in received.values()]
    least, step = min(beat.changes for beat in heartbeats), min(beat.step for beat in heartbeats)
    behind = [f"{_name(beat)} is {beat.activity}" for beat in heartbeats if beat.changes == least]
    return (
        f"no progress for {still_s:.0f} s, after step {step} (slowest step so far {slowest_s:.1f} s): "
        f"{' and '.join(behind)}"
    )


def _name(heartbeat: WorkerHeartbeat) -> str:
    return f"worker {heartbeat.rank} ({heartbeat.place})"
