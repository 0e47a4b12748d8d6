"""Smoothing of landmark tracks over time. Shapes: `F` frames, `N` landmarks, `C` coordinates."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d

_REACH = 3  # frames to either side
_TIME_SIGMA = 1.6  # frames
_MOVE_SIGMA = 0.006  # share of the face's size: larger moves are kept, smaller ones averaged away as jitter


def smooth(landmarks_FNC: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """Reduce the jitter of a track with a Gaussian over time. It is symmetric, so it adds no delay.

    Frames without a face (NaN) stay NaN and do not enter the mean of their neighbours. At both ends the Gaussian is
    cut off and renormalised.

    Args:
        landmarks_FNC: (F, ...) any track with time first.
        sigma: standard deviation in frames; at 1 a blink of three frames stays visible. 0 returns a copy of the track.

    Returns:
        The same shape and dtype.
    """
    if sigma <= 0:
        return landmarks_FNC.copy()
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    seen = np.isfinite(landmarks_FNC)
    values = np.where(seen, landmarks_FNC, 0).astype(np.float64)
    total = correlate1d(values, kernel, axis=0, mode="constant")
    weight = correlate1d(seen.astype(np.float64), kernel, axis=0, mode="constant")
    means = np.divide(total, weight, out=np.full_like(total, np.nan), where=seen)
    return means.astype(landmarks_FNC.dtype)


def fill_gaps(track: np.ndarray) -> np.ndarray:
    """Copy (F, ...) float32 in which frames with NaN are interpolated in time; at the ends the nearest one is repeated.

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
    """Bilateral filter in time: each landmark is averaged over nearby frames in which it hardly moved.

    A plain low-pass filter would weaken blinks and fast lip motion; this one keeps moves beyond a percent of the face.
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
