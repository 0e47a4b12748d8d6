"""Masked driving frames: the face in grey on black.

Shapes: `F` frames, `H` height, `W` width, `N` landmarks, `C` channels or coordinates.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

GREY_WEIGHTS = (0.2989, 0.5870, 0.1140)
ABOVE, BELOW = 0.4, 0.1  # margins of the driving box, as shares of the squared face box's side

Region = Literal["box", "hull", "published"]


def driving_box(face_box_xyxy: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Visible part of a driving frame: the squared face box, extended at the top by 40 % of its side, below by 10 %.

    Args:
        face_box_xyxy: (4,) x0, y0, x1, y1 in pixels, finite.
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


def published_box(face_box_xyxy: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Visible part of a driving frame as the released model was given it; see `driving_box`.

    A box up to 1.5 times as high as wide is squared at its width (`driving_box`: at its longer side) and gets the same
    margins. A higher box keeps its height and is widened to two thirds of it. Margins are truncated to whole pixels.
    """
    left, top, right, bottom = face_box_xyxy
    width, height = right - left, bottom - top
    tall = 1 + ABOVE + BELOW
    if height > tall * width:
        pad = int((height / tall - width) / 2)
        edges = left - pad, top, right + pad, bottom
    else:
        pad = int((width - height) / 2)
        edges = left, top - pad - int(ABOVE * width), right, bottom + pad + int(BELOW * width)
    x0, y0, x1, y1 = (max(int(edge), 0) for edge in edges)
    return x0, y0, min(x1, size[1]), min(y1, size[0])


def grey(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) to (...) with the weights of the published driving video; uint8 is rounded, float32 (0..255) is not."""
    luma = rgb.astype(np.float32) @ np.array(GREY_WEIGHTS, np.float32)
    if rgb.dtype == np.uint8:
        return np.clip(luma + 0.5, 0, 255).astype(np.uint8)
    return np.clip(luma, 0, 255)


def mask_driving(
    frames_FHWC: np.ndarray,
    boxes_F4: np.ndarray,
    mode: Region = "box",
    landmarks_FNC: np.ndarray | None = None,
) -> np.ndarray:
    """Driving frames (F, H, W): grey inside the face region, black outside; uint8 or float32 as the input.

    Args:
        frames_FHWC: (F, H, W, 3) uint8, or float32 in 0..255.
        boxes_F4: (F, 4) face boxes; a frame whose box is not finite becomes black.
        mode: `box` for the driving box, `hull` for the convex hull of the landmarks, `published` for the box of the
            released model.
        landmarks_FNC: (F, N, 2 or 3), needed for `hull`.

    Raises:
        ValueError: mode `hull` without landmarks.
    """
    if mode == "hull" and landmarks_FNC is None:
        raise ValueError("mask mode 'hull' needs landmarks")
    result = np.zeros(frames_FHWC.shape[:3], frames_FHWC.dtype)
    visible_box = published_box if mode == "published" else driving_box
    for index, (frame, box) in enumerate(zip(frames_FHWC, boxes_F4, strict=True)):
        if not np.isfinite(box).all():
            continue
        if mode != "hull" or landmarks_FNC is None:
            x0, y0, x1, y1 = visible_box(box, frame.shape[:2])
            result[index, y0:y1, x0:x1] = grey(frame[y0:y1, x0:x1])
        else:
            hull = cv2.convexHull(np.round(landmarks_FNC[index, :, :2]).astype(np.int32))
            inside = cv2.fillConvexPoly(np.zeros(frame.shape[:2], np.uint8), hull, 1)
            result[index] = grey(frame) * inside
    return result
