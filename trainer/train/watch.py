"""Whether the workers of a run still get on, judged from the signs of life that each of them gives.

A worker that is stopped, or whose node is frozen, gives none. One that hangs gives signs, but nothing moves, since the
others wait for it. Both are said after a while; after longer the attempt is to be ended, so that another can begin.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the actor that hears the signs needs no torch
    from trainer.train.config import Watching

Doing = Literal["starting", "waiting for data", "training", "saving", "validating"]

LONG: frozenset[Doing] = frozenset({"starting", "saving", "validating"})
LONGER = 10.0  # times as long these may take
SLOWEST = 10.0  # times the slowest step so far is no reason to end anything
GAP_S = 15.0  # between two looks; after more, whoever looks was stopped too, and cannot tell who else was
SILENT_WORRY, STILL_WORRY = 1 / 2, 1 / 5  # share of the limit after which it is said


@dataclass(frozen=True)
class Sign:
    """What a worker says of itself.

    Attributes:
        attempt: which start of all workers it belongs to, a number that no two have.
        rank: of the worker.
        place: process and node, for people.
        step: optimiser steps done.
        doing: what it is at.
        marks: grows with everything it does.
        slowest_s: longest time of a step so far, 0 before the second.
    """

    attempt: float
    rank: int
    place: str
    step: int = 0
    doing: Doing = "starting"
    marks: int = 0
    slowest_s: float = 0.0


class Pulse:
    """The newest sign of this process: the loop sets it, and whoever wants to know reads it."""

    def __init__(self, sign: Sign | None = None) -> None:
        self.sign = sign or Sign(0.0, 0, "this process")
        self._first: int | None = None
        self._began: float | None = None

    def at(self, doing: Doing, step: int) -> None:
        """The process does this now, after `step` steps; its first step belongs to the start."""
        now, slowest = time.monotonic(), self.sign.slowest_s
        self._first = step if self._first is None else self._first
        if step == self._first and doing not in LONG:
            doing = "starting"
        if step > self.sign.step and self._began is not None:
            slowest = max(slowest, now - self._began)
        if step > self.sign.step or self._began is None:
            self._began = now
        if doing in LONG:
            self._began = None
        self.sign = replace(self.sign, doing=doing, step=step, marks=self.sign.marks + 1, slowest_s=slowest)


@dataclass(frozen=True)
class Heard:
    """A sign, and how many seconds ago it came."""

    sign: Sign
    age_s: float


@dataclass(frozen=True)
class Verdict:
    """A line to say, if any, and whether the attempt is to be ended."""

    line: str | None = None
    end: bool = False


class Watch:
    """Judges what is heard of the workers, look after look."""

    def __init__(self, limits: Watching) -> None:
        self._limits = limits
        self._marks: dict[tuple[float, int], int] = {}
        self._moved_at = 0.0
        self._looked_at = self._watched_since = -math.inf
        self._worried = False

    def look(self, heard: Mapping[int, Heard], now: float) -> Verdict:
        """Compare with the last look.

        Args:
            heard: the newest sign of each rank that is at work.
            now: seconds, of a clock that is never set.
        """
        if now - self._looked_at > GAP_S:
            self._watched_since = self._moved_at = now
        self._looked_at = now
        marks = {(item.sign.attempt, rank): item.sign.marks for rank, item in heard.items()}
        if marks != self._marks:
            self._marks, self._moved_at = marks, now
        if not heard:
            self._worried = False
            return Verdict()
        factor = LONGER if any(item.sign.doing in LONG for item in heard.values()) else 1.0
        slowest_s = max(item.sign.slowest_s for item in heard.values())
        silent_limit = self._limits.silent_s * factor
        still_limit = max(self._limits.still_s, SLOWEST * slowest_s) * factor
        silent_s = min(max(item.age_s for item in heard.values()), now - self._watched_since)
        still_s = now - self._moved_at
        if silent_s >= silent_limit * SILENT_WORRY:
            what, limit = _silence(heard, silent_limit * SILENT_WORRY), silent_limit
        elif still_s >= still_limit * STILL_WORRY:
            what, limit = _standstill(heard, still_s, slowest_s), still_limit
        else:
            line = "the workers go on" if self._worried else None
            self._worried = False
            return Verdict(line)
        if silent_s >= silent_limit or still_s >= still_limit:
            self._worried = False
            return Verdict(f"{what}; all workers are ended", end=True)
        if self._worried:
            return Verdict()
        self._worried = True
        return Verdict(f"{what}; after {limit:.0f} s all workers are ended and started again")


def _silence(heard: Mapping[int, Heard], least_s: float) -> str:
    silent = [item for item in heard.values() if item.age_s >= least_s]
    age_s, step = max(item.age_s for item in silent), min(item.sign.step for item in silent)
    names = " and ".join(_name(item.sign) for item in silent)
    return (
        f"no sign of life for {age_s:.0f} s, after step {step}, of {names}: "
        f"stopped, or the machine does not get on"
    )


def _standstill(heard: Mapping[int, Heard], still_s: float, slowest_s: float) -> str:
    signs = [item.sign for item in heard.values()]
    least, step = min(sign.marks for sign in signs), min(sign.step for sign in signs)
    behind = [f"{_name(sign)} is {sign.doing}" for sign in signs if sign.marks == least]
    return (
        f"no progress for {still_s:.0f} s, after step {step} (slowest step so far {slowest_s:.1f} s): "
        f"{' and '.join(behind)}"
    )


def _name(sign: Sign) -> str:
    return f"worker {sign.rank} ({sign.place})"
