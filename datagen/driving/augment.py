"""Augmentation of driving videos: one scale and one aspect ratio per clip.

The pipeline stores augmented streams and the trainer augments during training, both with this code.
Shapes: `F` frames, `H` height, `W` width, `C` channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """Change of scale and aspect ratio around the picture's centre.

    Attributes:
        scale: factor of both sides.
        aspect: below 1 the width is multiplied by it, above 1 the height is divided by it, so that it never moves
            content out of the picture.
    """

    scale: float = 1.0
    aspect: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("scale", self.scale), ("aspect", self.aspect)):
            if not 0 < value < float("inf"):
                raise ValueError(f"augmentation {name} is {value}; give a positive number")

    @classmethod
    def draw(cls, rng: np.random.Generator, rate: float, low: float = 0.8, high: float = 1.2) -> Augmentation:
        """With probability `rate`, a scale and an aspect that are uniform in [low, high]; otherwise no change.

        Always takes three numbers from `rng`, so that later draws do not depend on the result.
        """
        chance, scale, aspect = rng.random(3)
        if chance >= rate:
            return cls()
        return cls(low + (high - low) * float(scale), low + (high - low) * float(aspect))

    def matrix(self, height: int, width: int) -> np.ndarray:
        """(2, 3) float64 affine map from source pixels to result pixels."""
        across, down = self.scale * min(self.aspect, 1.0), self.scale / max(self.aspect, 1.0)
        x, y = (width - 1) / 2, (height - 1) / 2
        return np.array([[across, 0.0, x - across * x], [0.0, down, y - down * y]])

    def apply(self, frames: np.ndarray, boxes_F4: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Augmented frames and boxes; pixels from outside the picture are black.

        Args:
            frames: (F, H, W) or (F, H, W, C), uint8 or float32. A single frame is a clip with F = 1.
            boxes_F4: (F, 4) x0, y0, x1, y1 in pixels.

        Returns:
            Frames of the same shape and type, and the moved boxes; the given arrays themselves where nothing changes.
        """
        if self.scale == 1 and self.aspect == 1:
            return frames, boxes_F4
        height, width = frames.shape[1:3]
        matrix = self.matrix(height, width)
        result = np.empty_like(frames)
        for source, target in zip(frames, result, strict=True):
            warped = cv2.warpAffine(source, matrix, (width, height), flags=cv2.INTER_LINEAR)
            target[...] = warped.reshape(target.shape)
        corners = self.points(boxes_F4.reshape(-1, 2, 2), (height, width))
        return result, corners.reshape(boxes_F4.shape)

    def points(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Points (..., 2 or 3) of a frame of (height, width), moved with the picture; a third coordinate is kept."""
        matrix = self.matrix(*size)
        moved = points.copy()
        moved[..., :2] = points[..., :2] * matrix[:, :2].diagonal() + matrix[:, 2]
        return moved
