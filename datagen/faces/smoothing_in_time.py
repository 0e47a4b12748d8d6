"""Tracks of landmarks without jitter.  Shapes: `F` frames, `N` landmarks, `C` coordinates."""

from __future__ import annotations

import numpy as np

_REACH = 3  # frames to either side
_TIME_SIGMA = 1.6  # frames
_MOVE_SIGMA = 0.006  # of the face's size: larger moves are motion and stay, smaller ones are jitter


def fill_gaps(track: np.ndarray) -> np.ndarray:
    """Copy (F, ...) float32 in which frames holding NaN are interpolated in time; ends are held.

    Raises:
        ValueError: no frame is finite.
    """
    flat = track.reshape(len(track), -1).astype(np.float32)
    good = np.asarray(np.isfinite(flat).all(axis=1))
    if not good.any():
        raise ValueError("no frame of the track is finite")
    known = np.flatnonzero(good)
    position = np.interp(np.arange(len(good)), known, np.arange(len(known)))
    before = np.floor(position).astype(int)
    after = np.minimum(before + 1, len(known) - 1)
    share = (position - before)[:, None].astype(np.float32)
    return (flat[known][before] * (1 - share) + flat[known][after] * share).reshape(track.shape)


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
