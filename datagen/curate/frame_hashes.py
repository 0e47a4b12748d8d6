"""Perceptual hashes of whole frames: footage that was scaled, encoded again or cut elsewhere is found by them.

A hash holds which of the 63 lowest frequencies of the picture (DCT of 32 x 32 grey pixels) lie above their median.
Brightness does not matter, contrast hardly. On 17 videos of 17 people the closest three frames in a row of two of them
differed by 16 bits or more; copies of one, encoded again, at half size or half the rate, by 4 at most, and by 8 at
most where they were cut at another start, so that their grid lies up to a quarter of a second beside.
"""

from __future__ import annotations

import cv2
import numpy as np

EVERY_S = 0.5
"""Frames are hashed at the multiples of this time of their source."""

_SIDE, _LOW = 32, 8
_FLAT = 4.0  # grey levels of standard deviation; frames of a film have 20 and more, a fade to black below 2


def grid(times_s: np.ndarray) -> np.ndarray:
    """Positions of the frames to hash: for each multiple of `EVERY_S`, the nearest frame within half of it.

    Args:
        times_s: (N,) non-decreasing times of the frames in their source; of equal ones the first counts.
    """
    multiples = np.round(times_s / EVERY_S)
    away = np.abs(times_s - multiples * EVERY_S)
    order = np.lexsort((np.arange(len(times_s)), away, multiples))
    _, first = np.unique(multiples[order], return_index=True)
    return order[first]


def frame_hash(frame_HWC: np.ndarray) -> int | None:
    """Hash of an RGB frame as a number of 64 bits, the first of them 0; None for a flat frame."""
    small = cv2.resize(frame_HWC, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if grey.std() < _FLAT:
        return None
    low = cv2.dct(grey)[:_LOW, :_LOW].ravel()
    bits = low > np.median(low[1:])
    bits[0] = False  # the mean of the picture
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
