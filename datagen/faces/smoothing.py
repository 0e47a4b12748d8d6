"""Smoothing of landmark tracks over time."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d


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
