"""The crop of a clip: one square for all frames, so that the picture does not jitter."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class ClipCrop:
    """Square in pixels of the upright source; it may reach beyond the picture, so `x` and `y` may be negative."""

    x: int
    y: int
    size: int

    def cut(self, frame_HWC: np.ndarray, side: int, interpolation: int | None = None) -> np.ndarray:
        """The square, resized to `side`; black outside the picture.

        `interpolation` is a flag of `cv2.resize`; None takes the area average to shrink and cubic to enlarge.
        """
        piece = self.inside(frame_HWC)
        if piece.shape[:2] != (self.size, self.size):
            black = self.padding(frame_HWC.shape[1], frame_HWC.shape[0])
            piece = cv2.copyMakeBorder(
                piece,
                black["top"],
                black["bottom"],
                black["left"],
                black["right"],
                cv2.BORDER_CONSTANT,
                value=(0, 0, 0),
            )
        if side == self.size:
            return np.ascontiguousarray(piece)
        if interpolation is None:
            interpolation = cv2.INTER_AREA if side < self.size else cv2.INTER_CUBIC
        return cv2.resize(piece, (side, side), interpolation=interpolation)

    def inside(self, frame_HWC: np.ndarray) -> np.ndarray:
        """View of the part of the square that is inside the picture."""
        return frame_HWC[max(self.y, 0) : self.y + self.size, max(self.x, 0) : self.x + self.size]

    def padding(self, width: int, height: int) -> dict[str, int]:
        """Rows and columns of the square outside the picture: `left`, `top`, `right`, `bottom`."""
        return {
            "left": max(-self.x, 0),
            "top": max(-self.y, 0),
            "right": max(self.x + self.size - width, 0),
            "bottom": max(self.y + self.size - height, 0),
        }

    def outside(self, width: int, height: int) -> float:
        """Share of the square's area that is outside the picture."""
        seen_x = max(0, min(self.x + self.size, width) - max(self.x, 0))
        seen_y = max(0, min(self.y + self.size, height) - max(self.y, 0))
        return 1 - seen_x * seen_y / self.size**2

    def to_clip(self, boxes: np.ndarray, side: int) -> np.ndarray:
        """Boxes (..., 4) or points (..., 2) from source into clip pixels (pixel centres as in `cv2.resize`)."""
        scale = side / self.size
        offset = np.array([self.x, self.y] * (boxes.shape[-1] // 2), np.float32)
        return ((boxes - offset + 0.5) * scale - 0.5).astype(np.float32)


def square_side(boxes_N4: np.ndarray) -> np.ndarray:
    """Longer side (N,) of each box."""
    return np.maximum(boxes_N4[:, 2] - boxes_N4[:, 0], boxes_N4[:, 3] - boxes_N4[:, 1])


def choose_crop(boxes_N4: np.ndarray, width: int, height: int, scale: float) -> ClipCrop:
    """Square around the median centre of the boxes, with `scale` times the median of their longer sides.

    It is enlarged and moved only as far as needed to contain the box of every frame, and moved into the picture where
    it fits.
    """
    sides = square_side(boxes_N4)
    low, high = boxes_N4[:, :2].min(axis=0), boxes_N4[:, 2:].max(axis=0)
    side = max(scale * float(np.median(sides)), float((high - low).max()) + 2)
    centres = (boxes_N4[:, :2] + boxes_N4[:, 2:]) / 2
    # The median centre, moved just enough that all boxes are inside.
    centre = np.clip(np.median(centres, axis=0), high - side / 2, low + side / 2)
    size = int(np.ceil(side))
    corner = np.round(centre - size / 2).astype(int)
    for axis, limit in enumerate((width, height)):
        if size <= limit:
            corner[axis] = min(max(corner[axis], 0), limit - size)
        else:
            corner[axis] = -((size - limit) // 2)
    return ClipCrop(int(corner[0]), int(corner[1]), size)


def largest_crop(width: int, height: int, boxes_N4: np.ndarray | None = None) -> ClipCrop:
    """The largest square inside the picture, around the middle of all boxes, or of the picture without boxes.

    The released model was given such squares. Its corner is truncated to whole pixels, in the boxes' own precision.
    """
    side = min(width, height)
    x, y = width / 2, height / 2
    if boxes_N4 is not None:
        low, high = boxes_N4[:, :2].min(axis=0), boxes_N4[:, 2:].max(axis=0)
        x, y = (low + high) / 2
    left = min(max(int(x - side / 2), 0), width - side)
    top = min(max(int(y - side / 2), 0), height - side)
    return ClipCrop(left, top, side)
