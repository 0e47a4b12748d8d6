"""Results of face analysis. Coordinates are pixels of the frame; the centre of the top-left pixel is (0, 0)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SEEN = 0.5
"""Presence from which a face counts as seen."""


@dataclass(frozen=True)
class Detection:
    """One detected face.

    Attributes:
        box: (4,) float32 x0, y0, x1, y1; roughly from the brows to the chin.
        points: (6, 2) float32: the person's right eye, left eye, nose tip, mouth, right ear, left ear.
        score: 0..1.
    """

    box: np.ndarray
    points: np.ndarray
    score: float


@dataclass(frozen=True)
class Faces:
    """One face tracked over F frames. In frames where it is not seen, `presence` is 0 and everything else NaN.

    Attributes:
        landmarks: (F, 468, 3) float32; z in the same unit as x and y, smaller is nearer.
        irises: (F, 2, 5, 2) float32: right then left eye; the centre, then four points of the edge.
        presence: (F,) float32 0..1, probability that there is a face.
        pose: (F, 3) float32: yaw, pitch, roll in degrees, see `geometry.pose`.
        box: (F, 4) float32 x0, y0, x1, y1: tight box from brows to chin.
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
