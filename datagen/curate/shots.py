"""Shot cuts, found from the change between successive frames."""

from __future__ import annotations

import cv2
import numpy as np

_THUMBNAIL = (64, 36)  # width, height


class FrameChange:
    """Change of each frame from the previous one in colour histogram and pixels: 0 (equal) to about 1."""

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, frame_HWC: np.ndarray) -> float:
        """Change of this RGB frame from the one of the previous call; 0 for the first frame."""
        thumb = cv2.resize(frame_HWC, _THUMBNAIL, interpolation=cv2.INTER_AREA)
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
    """Positions of the frames that start a new shot.

    A cut is a peak: the change reaches the threshold, and 2.5 times the median of the eight frames around it. Fast
    motion changes many frames in a row, so it is not a cut. The start and the end of a flash count as cuts; dissolves
    are not found.

    Args:
        change: (F,) output of `FrameChange`.
        threshold: `curate.shot_threshold` of the recipe.
    """
    cuts = []
    for index in np.flatnonzero(change >= threshold):
        before, after = change[max(index - 4, 1) : index], change[index + 1 : index + 5]
        around = np.concatenate([before, after])
        if not len(around) or change[index] >= 2.5 * float(np.median(around)):
            cuts.append(int(index))
    return cuts
