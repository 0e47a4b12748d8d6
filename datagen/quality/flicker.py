"""How much a stream flickers, compared with its source.

Shapes: `F` frames, `H` height, `W` width, `C` channels.
"""

from __future__ import annotations

import cv2
import numpy as np

from datagen.faces.types import Faces

_FLICKER_SIDE = 128  # pixels; finer change is compression noise
_FLICKER_FLOOR = 0.003  # of the contrast; what an entirely still source is taken to flicker


def flicker(source_FHWC: np.ndarray, other_FHWC: np.ndarray, faces: Faces) -> float:
    """Flicker of another stream over the source's, 1 where it is the same; 1 for clips under three frames.

    Flicker is the mean second difference of luma in time (change that does not go on like motion does) around the
    face, over the luma's contrast there.
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
    values = [_unsteadiness(frames[:, y0:y1, x0:x1]) + _FLICKER_FLOOR for frames in (source_FHWC, other_FHWC)]
    return values[1] / values[0]


def _unsteadiness(frames_FHWC: np.ndarray) -> float:
    """Mean absolute second difference of luma in time over its contrast."""
    size = (_FLICKER_SIDE, _FLICKER_SIDE)
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
