"""Tracks of landmarks without jitter.  Shapes: `F` frames, `N` landmarks, `C` coordinates."""

from __future__ import annotations

import numpy as np

_REACH = 3  # frames to either side
_TIME_SIGMA = 1.6  # frames
_MOVE_SIGMA = 0.006  # of the face's size: larger moves are motion and stay, smaller ones are jitter


def fill_gaps(landmarks_FNC: np.ndarray) -> np.ndarray:
    """Copy in which frames holding NaN are interpolated in time (ends are held).

    Raises:
        ValueError: no frame is finite.
    """
    good = np.isfinite(landmarks_FNC).all(axis=(1, 2))
    if not good.any():
        raise ValueError("no frame has landmarks")
    if good.all():
        return landmarks_FNC.astype(np.float32)
    known = np.flatnonzero(good)
    position = np.interp(np.arange(len(good)), known, np.arange(len(known)))
    before = np.floor(position).astype(int)
    after = np.minimum(before + 1, len(known) - 1)
    share = (position - before)[:, None, None].astype(np.float32)
    values = landmarks_FNC[known].astype(np.float32)
    return values[before] * (1 - share) + values[after] * share


def without_jitter(landmarks_FNC: np.ndarray) -> np.ndarray:
    """Bilateral filter in time: each landmark is averaged with its own near frames unless it really moved.

    A plain low pass would dull blinks and fast lips; this one leaves moves beyond a percent of the face alone.
    """
    size = float(np.median(np.ptp(landmarks_FNC[..., :2], axis=1)))
    frames = np.arange(len(landmarks_FNC))
    total = np.zeros_like(landmarks_FNC, dtype=np.float32)
    weights = np.zeros((*landmarks_FNC.shape[:2], 1), np.float32)
    for step in range(-_REACH, _REACH + 1):
        other = landmarks_FNC[np.clip(frames + step, 0, len(frames) - 1)]
        move = np.square(other[..., :2] - landmarks_FNC[..., :2]).sum(axis=-1, keepdims=True)
        weight = np.exp(-0.5 * (step / _TIME_SIGMA) ** 2 - 0.5 * move / (_MOVE_SIGMA * size) ** 2)
        total += weight * other
        weights += weight
    return total / weights
