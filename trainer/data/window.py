"""Which frames of a clip a sample shows: the target window and a reference frame outside it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from datagen.common.seeding import keyed_rng


@dataclass(frozen=True)
class Window:
    """Frame numbers of one sample.

    Attributes:
        indices_F: ascending frames of target and driver, evenly spaced.
        candidate: index of the reference frame in the list of candidates.
        reference: frame number of the reference.
    """

    indices_F: np.ndarray
    candidate: int
    reference: int


def stride_of(fps: float, frame_rate: float, clip_frames: int, frames: int) -> int:
    """Whole step between frames that is nearest to `frame_rate`, smaller where the clip is too short for it."""
    wanted = max(1, round(fps / frame_rate))
    return wanted if frames == 1 else min(wanted, (clip_frames - 1) // (frames - 1))


def reference_candidates(clip_id: str, clip_frames: int, count: int) -> list[int]:
    """Frames of a clip that may serve as its reference: spread over it, fixed by its id, ascending.

    One of them is the first or last frame, so that a clip longer than a window always has a window that leaves a
    candidate outside. With `count` 0 or at least `clip_frames`, every frame is a candidate.
    """
    if count == 0 or count >= clip_frames:
        return list(range(clip_frames))
    rng = keyed_rng("reference candidates", clip_id)
    edges = np.linspace(0, clip_frames, count + 1).astype(int)
    picked = [int(rng.integers(low, high)) for low, high in pairwise(edges)]
    if rng.random() < 0.5:
        picked[0] = 0
    else:
        picked[-1] = clip_frames - 1
    return picked


def choose_window(
    rng: np.random.Generator, clip_frames: int, stride: int, frames: int, candidates: list[int]
) -> Window:
    """Draw a window uniformly among those that leave a candidate outside, and one of the candidates outside it.

    Where no window leaves a candidate outside, a candidate that the stride skips is preferred.

    Raises:
        ValueError: the clip is shorter than the window.
    """
    span = (frames - 1) * stride + 1
    if stride < 1 or span > clip_frames:
        raise ValueError(f"the clip has {clip_frames} frames, a sample needs {max(span, frames)}")
    starts = np.arange(clip_frames - span + 1)
    beside = starts[(starts > min(candidates)) | (starts + span - 1 < max(candidates))]
    start = int(rng.choice(beside if len(beside) else starts))
    indices_F = start + stride * np.arange(frames)
    outside = [n for n, frame in enumerate(candidates) if not start <= frame < start + span]
    unseen = [n for n, frame in enumerate(candidates) if frame not in indices_F]
    candidate = int(rng.choice(outside or unseen or np.arange(len(candidates))))
    return Window(indices_F, candidate, candidates[candidate])
