"""Smoothing of landmark tracks over time. Shapes: `F` frames, `N` landmarks, `C` coordinates."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d

_REACH = 3  # frames to either side
_TIME_SIGMA = 1.6  # frames
_MOVE_SIGMA = 0.006  # of the face's size: larger moves are motion and stay, smaller ones are jitter


def smooth(landmarks_FNC: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """Remove the trembling of a track without delaying it: a Gaussian over time, even, so of zero phase.

    Frames where nothing was seen (NaN) stay NaN and lend nothing to their neighbours. At both ends the Gaussian is
    cut and renormalised.

    Args:
        landmarks_FNC: (F, ...) any track with time first.
        sigma: width in frames; 1 keeps a blink of three frames visible. 0 returns the track as it is.

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
