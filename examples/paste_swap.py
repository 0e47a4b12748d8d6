"""A swap backend of your own: pastes the donor's face over the clip's, moved, turned and scaled by the landmarks.

In a package of its own, this table of its `pyproject.toml` offers the backend to the recipe as `swap.backend: paste`:

    [project.entry-points."megactor_datagen.swap"]
    paste = "paste_swap:build"
"""

from __future__ import annotations

import cv2
import numpy as np

from datagen.donors.donor import Donor
from datagen.faces import Faces, ModelInfo
from datagen.recipe import Recipe


class PasteSwap:
    """A `Swapper`, see `datagen.synthesise.swap.base`: head pose is kept, expression is not."""

    name = "paste"
    models: tuple[ModelInfo, ...] = ()  # networks, whose hashes become part of the recipe hash

    def __call__(self, frames_FHWC: np.ndarray, faces: Faces, donor: Donor, seed: int) -> np.ndarray:
        """Frames (F, H, W, 3) uint8 RGB with the donor's face; frames without a face stay as they are."""
        points = np.ascontiguousarray(donor.landmarks[:, :2])
        outline = cv2.convexHull(points.astype(np.int32))
        mask = cv2.fillConvexPoly(np.zeros(donor.image.shape[:2], np.float32), outline, 1.0)
        soft = cv2.GaussianBlur(cv2.erode(mask, np.ones((15, 15))), (0, 0), 5)
        result = frames_FHWC.copy()
        for frame, landmarks_NC in zip(result, faces.landmarks, strict=True):
            if np.isfinite(landmarks_NC).all():
                to_frame, _ = cv2.estimateAffinePartial2D(points, np.ascontiguousarray(landmarks_NC[:, :2]))
                size = frame.shape[1::-1]
                face = cv2.warpAffine(donor.image, to_frame, size, flags=cv2.INTER_AREA)
                alpha = cv2.warpAffine(soft, to_frame, size)[..., None]
                frame[...] = alpha * face + (1 - alpha) * frame
        return result


def build(recipe: Recipe) -> PasteSwap:
    """What the entry point names: makes the backend from the recipe, once in every worker process."""
    return PasteSwap()
