"""The timeline of a source: the source frame for each frame of a constant-rate clip."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from datagen.media import VideoInfo
from datagen.recipe import Curate

MAX_STEP_S = 1.0
"""Frames further apart than this have a gap between them: the clock jumped, or one picture is shown for a long time."""

STANDARD_RATES = (8, 10, 12, 12.5, 15, 24000 / 1001, 24, 25, 30000 / 1001, 30, 48, 50, 60000 / 1001, 60, 120)


def timeline(info: VideoInfo, times_s: np.ndarray, settings: Curate) -> tuple[np.ndarray, float]:
    """Indices of source frames at a constant rate, and that rate.

    Of a source with a constant rate every frame is taken, or every n-th one where its rate is above `max_fps`. Of a
    source with a variable rate, or with `fps` set, the frame nearest to each tick of the constant rate is taken.
    Gaps (see `breaks`) have no ticks; the ticks start again at the first frame after a gap.

    Args:
        info: the source's `VideoInfo`.
        times_s: (F,) ascending presentation times in seconds.
        settings: `fps` and `max_fps`.

    Returns:
        (N,) int32 indices, non-decreasing; frames per second.
    """
    count = len(times_s)
    if settings.fps is None and info.constant_rate:
        step = int(np.ceil(info.fps / settings.max_fps - 1e-3))
        step = max(step, 1)
        return np.arange(0, count, step, dtype=np.int32), _exact(info.fps) / step
    edges = [0, *breaks(times_s), count]
    rate = settings.fps
    if rate is None:
        average = info.fps
        if len(edges) > 2 and len(steps := np.diff(times_s)[np.diff(times_s) <= MAX_STEP_S]):
            average = 1 / float(steps.mean())
        rate = min(STANDARD_RATES, key=lambda standard: abs(np.log(standard / average)))
        rate /= max(int(np.ceil(rate / settings.max_fps - 1e-3)), 1)
    runs = [start + _nearest(times_s[start:stop], rate) for start, stop in pairwise(edges)]
    return np.concatenate(runs).astype(np.int32), float(rate)


def breaks(times_s: np.ndarray) -> np.ndarray:
    """Positions of the frames that follow a gap of more than `MAX_STEP_S`; no clip may contain a gap.

    Args:
        times_s: (N,) non-decreasing times of frames in seconds.
    """
    return np.flatnonzero(np.diff(times_s) > MAX_STEP_S) + 1


def _nearest(times_s: np.ndarray, rate: float) -> np.ndarray:
    """Position of the frame nearest to each tick, from the first time to the last."""
    start, end = float(times_s[0]), float(times_s[-1])
    ticks = start + np.arange(int(np.floor((end - start) * rate + 1e-6)) + 1) / rate
    right = np.clip(np.searchsorted(times_s, ticks), 0, len(times_s) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(ticks - times_s[left] <= times_s[right] - ticks, left, right)


def _exact(rate: float) -> float:
    """The standard rate within 0.2 % of a measured one (29.97 is 30000/1001), or else the measured one."""
    near = min(STANDARD_RATES, key=lambda standard: abs(standard - rate))
    return float(near) if abs(near - rate) < 2e-3 * near else float(rate)
