"""What of a driving frame stays visible: the face, grey, on black.

Shapes: `F` frames, `H` height, `W` width, `N` landmarks, `C` channels or coordinates.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

GREY_WEIGHTS = (0.2989, 0.5870, 0.1140)
ABOVE, BELOW = 0.4, 0.1  # margins of the driving box over the side of the squared face box


def driving_box(face_box_xyxy: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Visible part of a driving frame: squared face box, 40 % of its side more on top, 10 % at the bottom.

    Args:
        face_box_xyxy: (4,) x0, y0, x1, y1 in pixels, `inf`-free.
        size: height and width of the frame.

    Returns:
        x0, y0, x1, y1 in whole pixels (x1 and y1 exclusive), clipped to the frame.
    """
    x0, y0, x1, y1 = (float(value) for value in face_box_xyxy)
    side, x, y = max(x1 - x0, y1 - y0), (x0 + x1) / 2, (y0 + y1) / 2
    height, width = size
    left, right = (int(np.clip(value, 0, width)) for value in (x - side / 2, x + side / 2))
    top, bottom = (
        int(np.clip(value, 0, height)) for value in (y - side * (0.5 + ABOVE), y + side * (0.5 + BELOW))
    )
    return left, top, right, bottom


def grey(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 to (...) uint8 with the weights of the published driving video."""
    return np.clip(rgb.astype(np.float32) @ np.array(GREY_WEIGHTS, np.float32) + 0.5, 0, 255).astype(np.uint8)


def mask_driving(
    frames_FHWC: np.ndarray,
    boxes_F4: np.ndarray,
    mode: Literal["box", "hull"] = "box",
    landmarks_FNC: np.ndarray | None = None,
) -> np.ndarray:
    """Driving frames (F, H, W) uint8: grey inside the face region, black outside.

    Args:
        frames_FHWC: (F, H, W, 3) uint8.
        boxes_F4: (F, 4) face boxes; a frame whose box is not finite becomes black.
        mode: `box` for the driving box, `hull` for the convex hull of the landmarks.
        landmarks_FNC: (F, N, 2 or 3), needed for `hull`.
    """
    if mode == "hull" and landmarks_FNC is None:
        raise ValueError("mask mode 'hull' needs landmarks")
    result = np.zeros(frames_FHWC.shape[:3], np.uint8)
    for index, (frame, box) in enumerate(zip(frames_FHWC, boxes_F4, strict=True)):
        if not np.isfinite(box).all():
            continue
        if mode == "box" or landmarks_FNC is None:
            x0, y0, x1, y1 = driving_box(box, frame.shape[:2])
            result[index, y0:y1, x0:x1] = grey(frame[y0:y1, x0:x1])
        else:
            hull = cv2.convexHull(np.round(landmarks_FNC[index, :, :2]).astype(np.int32))
            inside = cv2.fillConvexPoly(np.zeros(frame.shape[:2], np.uint8), hull, 1)
            result[index] = grey(frame) * inside
    return result
