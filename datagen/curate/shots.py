"""Shot cuts from the change between neighbouring frames."""

from __future__ import annotations

import cv2
import numpy as np

THUMB = (64, 36)


class FrameChange:
    """Distance of each frame to the one before: colour histogram and pixels, 0 (same) to about 1."""

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, frame_HWC: np.ndarray) -> float:
        """Distance of this RGB frame to the last one given; 0 for the first."""
        thumb = cv2.resize(frame_HWC, THUMB, interpolation=cv2.INTER_AREA)
        counts = cv2.calcHist([thumb], [0, 1, 2], None, [6, 6, 6], [0, 256] * 3).ravel()
        histogram = counts / counts.sum()
        luma = cv2.cvtColor(thumb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
        last, self._last = self._last, (histogram, luma)
        if last is None:
            return 0.0
        colours = 0.5 * float(np.abs(histogram - last[0]).sum())
        pixels = float(np.abs(luma - last[1]).mean())
        return 0.5 * colours + 2.0 * pixels


def find_cuts(change: np.ndarray, threshold: float) -> list[int]:
    """Frames that start a new shot.

    A cut is a single peak: above the threshold and well above its neighbours, so that fast motion and flashes that
    last for frames are not cuts.

    Args:
        change: (F,) output of `FrameChange`.
    """
    cuts = []
    for index in np.flatnonzero(change >= threshold):
        before, after = change[max(index - 4, 1) : index], change[index + 1 : index + 5]
        around = np.concatenate([before, after])
        if not len(around) or change[index] >= 2.5 * float(np.median(around)):
            cuts.append(int(index))
    return cuts
