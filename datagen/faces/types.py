"""What face analysis returns. Coordinates are pixels of the frame analysed, the top-left pixel's centre at (0, 0)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SEEN = 0.5
"""Presence from which a face counts as there."""


@dataclass(frozen=True)
class Detection:
    """One face as the detector sees it.

    Attributes:
        box: (4,) float32 x0, y0, x1, y1; roughly brows to chin.
        points: (6, 2) float32, the person's right eye, left eye, nose tip, mouth, right ear, left ear.
        score: 0..1.
    """

    box: np.ndarray
    points: np.ndarray
    score: float


@dataclass(frozen=True)
class Faces:
    """One face followed over F frames. Where it was not seen, `presence` is 0 and everything else NaN.

    Attributes:
        landmarks: (F, 468, 3) float32; z in the same unit as x and y, smaller is nearer.
        irises: (F, 2, 5, 2) float32, right then left eye; centre, then four points of the edge.
        presence: (F,) float32, 0..1.
        pose: (F, 3) float32, yaw, pitch, roll in degrees as `geometry.pose` defines them.
        box: (F, 4) float32, tight brow-to-chin box x0, y0, x1, y1.
    """

    landmarks: np.ndarray
    irises: np.ndarray
    presence: np.ndarray
    pose: np.ndarray
    box: np.ndarray

    def __len__(self) -> int:
        return len(self.presence)

    @property
    def seen(self) -> np.ndarray:
        """(F,) bool: the frames in which the face was seen."""
        return (self.presence > 0) & np.isfinite(self.landmarks).all(axis=(1, 2))
