"""Regions of the face from its landmarks. Shapes: `N` landmarks, `C` coordinates, `K` and `M` points."""

from __future__ import annotations

import cv2
import numpy as np

from datagen.faces.topology import INNER_LIPS, JAW, LEFT_BROW, LEFT_EYE, OUTER_LIPS, RIGHT_BROW, RIGHT_EYE

OPENINGS = (RIGHT_EYE, LEFT_EYE, INNER_LIPS)
FEATURES = (RIGHT_EYE, LEFT_EYE, RIGHT_BROW, LEFT_BROW, OUTER_LIPS)

# Lower lid, then the fold below it back to the outer corner.
UNDER_EYES = (
    np.array([33, 7, 163, 144, 145, 153, 154, 155, 133, 233, 232, 231, 230, 229, 228, 31]),
    np.array([263, 249, 390, 373, 374, 380, 381, 382, 362, 453, 452, 451, 450, 449, 448, 261]),
)
_BROW_TOP = np.array([127, 162, 70, 63, 105, 66, 107, 9, 336, 296, 334, 293, 300, 389, 356])
_CENTRE = np.array([46, 70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 276, 261, 291, 321, 17, 91, 61, 31])
_GLABELLA, _FOREHEAD = 9, 151
_ENLARGED = 1.15  # factor by which brows, eyes and mouth are enlarged


def lower_face(landmarks_NC: np.ndarray, lift: float = 0.85) -> np.ndarray:
    """Convex outline (K, 2) from the jaw to the lower forehead.

    Args:
        landmarks_NC: (N, 2 or 3).
        lift: height above the brows, as a share of the distance from between the brows to the middle of the forehead.
    """
    up = lift * (landmarks_NC[_FOREHEAD, :2] - landmarks_NC[_GLABELLA, :2])
    return hull(np.vstack([landmarks_NC[JAW, :2], landmarks_NC[_BROW_TOP, :2] + up]))


def inner_face(landmarks_NC: np.ndarray) -> list[np.ndarray]:
    """Outlines (K, 2) around brows, eyes, nose and mouth, each a little larger than the part itself."""
    outlines = [hull(landmarks_NC[_CENTRE, :2])]
    for part in FEATURES:
        outline = hull(landmarks_NC[part, :2])
        centre = outline.mean(axis=0)
        outlines.append(centre + _ENLARGED * (outline - centre))
    return outlines


def hull(points: np.ndarray) -> np.ndarray:
    """Convex hull (K, 2) float32 of points (M, 2)."""
    return cv2.convexHull(np.ascontiguousarray(points, np.float32))[:, 0]


def fill(polygons: list[np.ndarray], size: tuple[int, int], step: float = 1.0) -> np.ndarray:
    """Mask of the union of polygons, uint8 0 or 255; its node (row, column) is at pixel (column, row) * step."""
    mask = np.zeros(size, np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.round(polygon / step * 16).astype(np.int32)], 255, shift=4)
    return mask


def skin(landmarks_NC: np.ndarray, size: tuple[int, int], step: float = 1.0) -> np.ndarray:
    """Mask of the lower face without brows, eyes and lips, uint8 0 or 255, eroded by one node."""
    mask = fill([lower_face(landmarks_NC)], size, step)
    mask[fill([hull(landmarks_NC[part, :2]) for part in FEATURES], size, step) > 0] = 0
    return cv2.erode(mask, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
