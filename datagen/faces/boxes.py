"""Face boxes: (4,) arrays x0, y0, x1, y1 in pixels."""

from __future__ import annotations

import numpy as np


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    common = float(np.prod(np.clip(high - low, 0, None)))
    areas = float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]))
    return common / (areas - common) if common > 0 else 0.0
