"""Flicker of a stream relative to its source.

Shapes: `F` frames, `H` height, `W` width, `C` channels.
"""

from __future__ import annotations

import cv2
import numpy as np

from datagen.faces.types import Faces

_SIDE = 128  # pixels to which frames are shrunk; changes at finer scales are compression noise
_FLOOR = 0.003  # share of the contrast, added to both flickers to avoid division by zero for a still source


def flicker(source_FHWC: np.ndarray, other_FHWC: np.ndarray, faces: Faces) -> float:
    """Ratio of another stream's flicker to the source's: 1 where it is the same, and for clips under three frames.

    Flicker is the mean absolute second difference of luma over time, around the face, divided by the luma's contrast
    there. Steady motion changes the first difference more than the second.
    """
    if len(source_FHWC) < 3:
        return 1.0
    boxes = faces.box[np.isfinite(faces.box).all(axis=1)]
    height, width = source_FHWC.shape[1:3]
    x0, y0, x1, y1 = 0, 0, width, height
    if len(boxes):
        side = float((boxes[:, 2:] - boxes[:, :2]).max())
        x0, y0 = (int(max(0, value - 0.4 * side)) for value in boxes[:, :2].min(axis=0))
        x1, y1 = (int(value + 0.4 * side) for value in boxes[:, 2:].max(axis=0))
    values = [_flicker(frames[:, y0:y1, x0:x1]) + _FLOOR for frames in (source_FHWC, other_FHWC)]
    return values[1] / values[0]


def _flicker(frames_FHWC: np.ndarray) -> float:
    """Mean absolute second difference of luma over time, divided by its contrast."""
    size = (_SIDE, _SIDE)
    last: list[np.ndarray] = []
    change, contrast = [], []
    for frame in frames_FHWC:
        luma = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        last.append(luma.astype(np.float32))
        contrast.append(float(luma.std()))
        if len(last) == 3:
            change.append(float(np.abs(last[0] - 2 * last[1] + last[2]).mean()))
            del last[0]
    return float(np.mean(change)) / max(float(np.mean(contrast)), 1.0)
