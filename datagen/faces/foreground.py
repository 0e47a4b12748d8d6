"""Foreground mask of the person in a clip, from the probabilities of a segmentation network.

Shapes: `F` frames, `H` height, `W` width, `C` channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import cv2
import numpy as np

_SMOOTHING_FRAMES = 1.0  # standard deviation of the Gaussian over time
_SPECK_SHARE = 0.005  # share of the frame's area: smaller islands and holes are removed as noise
_BLUR_SHARE = 0.004  # standard deviation of the Gaussian in space, as a share of the frame's height


class Segmenter(Protocol):
    """The part of a face analyser that `foreground` needs."""

    def foreground(self, rgb: np.ndarray) -> np.ndarray:
        """Probability (H, W) float32 0..1 that a pixel belongs to a person."""


def foreground(frames_FHWC: np.ndarray, analyser: Segmenter) -> np.ndarray:
    """Foreground mask (F, H, W) uint8: 255 person, 0 background.

    The probabilities are averaged over neighbouring frames before the threshold, so that the edge does not flicker;
    small islands and holes are removed. Only the probabilities of a few frames are in memory at a time.
    """
    result = np.empty(frames_FHWC.shape[:3], np.uint8)
    sigma = max(0.5, _BLUR_SHARE * frames_FHWC.shape[1])
    for index, mean in enumerate(_smoothed(frames_FHWC, analyser)):
        inside = (cv2.GaussianBlur(mean, (0, 0), sigma) > 0.5).astype(np.uint8)
        result[index] = _without_specks(inside) * 255
    return result


def _smoothed(frames_FHWC: np.ndarray, analyser: Segmenter) -> Iterable[np.ndarray]:
    """Probabilities averaged over time with Gaussian weights; at the ends the first and last frame are repeated."""
    reach = int(np.ceil(2 * _SMOOTHING_FRAMES))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _SMOOTHING_FRAMES) ** 2)
    weights /= weights.sum()
    last = len(frames_FHWC) - 1
    window: dict[int, np.ndarray] = {}
    for index in range(len(frames_FHWC)):
        near = np.clip(np.arange(index - reach, index + reach + 1), 0, last)
        for key in [key for key in window if key < near[0]]:
            del window[key]
        for key in near:
            if key not in window:
                window[key] = np.asarray(analyser.foreground(frames_FHWC[key]), np.float32)
        mean = np.zeros(frames_FHWC.shape[1:3], np.float32)
        for key, weight in zip(near, weights, strict=True):
            cv2.scaleAdd(window[key], float(weight), mean, mean)
        yield mean


def _without_specks(inside: np.ndarray) -> np.ndarray:
    """0/1 mask without islands and holes below `_SPECK_SHARE` of the frame."""
    for value in (1, 0):
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(
            (inside == value).astype(np.uint8), connectivity=4
        )
        small = stats[:, cv2.CC_STAT_AREA] < _SPECK_SHARE * inside.size
        small[0] = False
        if count > 1 and small.any():
            inside = np.where(small[pieces], np.uint8(1 - value), inside)
    return inside
