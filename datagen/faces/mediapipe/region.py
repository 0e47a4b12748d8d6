"""Rotated square crops: the pixels that a network takes from a frame, and its points mapped back to the frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class RotatedRegion:
    """A square region of a frame, rotated around its centre.

    Attributes:
        centre: x, y in pixels of the frame.
        size: side in pixels of the frame.
        angle: rotation in radians, from the frame's x axis towards its y axis (clockwise on the screen).
        mirrored: the direction of the region's x axis is reversed.
    """

    centre: tuple[float, float]
    size: float
    angle: float = 0.0
    mirrored: bool = False

    def to_frame(self, points: np.ndarray, side: float) -> np.ndarray:
        """Map points (N, 2 or 3) of the crop, resized to `side` pixels, to the frame; z is only scaled."""
        placed = np.array(points, np.float64) * (self.size / side)
        placed[:, :2] = (placed[:, :2] - self.size / 2) @ self._axes().T + self.centre
        return placed.astype(np.float32)

    def pixels(self, rgb_HWC: np.ndarray, side: int) -> np.ndarray:
        """The region as (side, side, 3) float32 0..255, black outside the frame; anti-aliased when it is shrunk."""
        shrink = max(1, int(self.size / side))
        reach = self.size * (abs(np.cos(self.angle)) + abs(np.sin(self.angle))) / 2 + 2 * shrink
        limits = rgb_HWC.shape[1], rgb_HWC.shape[0]
        x0, y0 = np.clip(np.floor(np.subtract(self.centre, reach)), 0, limits).astype(int)
        x1, y1 = np.clip(np.ceil(np.add(self.centre, reach)), 0, limits).astype(int)
        columns, rows = (x1 - x0) // shrink, (y1 - y0) // shrink
        if columns < 1 or rows < 1:
            return np.zeros((side, side, 3), np.float32)
        part = rgb_HWC[y0 : y0 + rows * shrink, x0 : x0 + columns * shrink]
        if shrink > 1:
            part = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
        linear = self._axes() * (self.size / side / shrink)
        corner = (np.array(self.centre) - (x0, y0) + 0.5) / shrink - 0.5
        offset = corner - linear @ np.full(2, side / 2 - 0.5)
        matrix = np.column_stack([linear, offset])
        warped = cv2.warpAffine(part, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        return warped.astype(np.float32)

    def _axes(self) -> np.ndarray:
        """(2, 2); its columns are the region's x and y directions in the frame."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        sign = -1.0 if self.mirrored else 1.0
        return np.array([[sign * cosine, -sine], [sign * sine, cosine]])
