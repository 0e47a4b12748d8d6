"""MediaPipe's 468-point face mesh and its iris network, on crops rotated so that the eyes are level."""

from __future__ import annotations

import numpy as np

from datagen.faces.mediapipe.region import RotatedRegion
from datagen.faces.mediapipe.shipped import open_shipped
from datagen.faces.topology import EYE_CORNERS
from datagen.faces.types import SEEN, Detection
from datagen.weights.onnx import run

_MARGIN = 1.5  # side of the crop over the face's side, as in training
_MAX_REFINEMENTS = 4
_CONVERGED = 0.02  # mean move of the points, in face widths, below which they have converged
_IRIS_MARGIN = 2.3  # side of the crop over the eye's width


class FaceMesh:
    """468 landmarks, and the presence: the probability that there is a face."""

    def __init__(self) -> None:
        self._session = open_shipped("face_mesh")
        self._side: int = self._session.get_inputs()[0].shape[1]

    def from_detection(self, rgb_HWC: np.ndarray, detection: Detection) -> tuple[np.ndarray, float]:
        """Landmarks (468, 3) float32 and presence of a detected face."""
        right, left = detection.points[:2]
        return self._run(rgb_HWC, detection.box[:2], detection.box[2:], left - right)

    def from_previous(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> tuple[np.ndarray, float]:
        """Landmarks (468, 3) float32 and presence of a face, from its landmarks in the previous frame."""
        flat = landmarks_NC[:, :2]
        right, left = flat[EYE_CORNERS[0, 0]], flat[EYE_CORNERS[1, 0]]
        return self._run(rgb_HWC, flat.min(axis=0), flat.max(axis=0), left - right)

    def refined(self, rgb_HWC: np.ndarray, detection: Detection) -> tuple[np.ndarray, float]:
        """As `from_detection`, then repeated from the landmarks found until they converge.

        A detector's points can be far off, and the mesh is exact only in a crop that fits the face well.
        """
        points, presence = self.from_detection(rgb_HWC, detection)
        for _ in range(_MAX_REFINEMENTS):
            if presence < SEEN:
                break  # not a face: more rounds could move the crop to something that resembles one
            before = points
            points, presence = self.from_previous(rgb_HWC, before)
            moved = np.linalg.norm(points[:, :2] - before[:, :2], axis=1).mean()
            if moved < _CONVERGED * np.ptp(points[:, 0]):
                break
        return points, presence

    def _run(
        self, rgb_HWC: np.ndarray, low: np.ndarray, high: np.ndarray, across: np.ndarray
    ) -> tuple[np.ndarray, float]:
        centre, size = (low + high) / 2, _MARGIN * float(max(high - low))
        crop = RotatedRegion(
            (float(centre[0]), float(centre[1])), size, float(np.arctan2(across[1], across[0]))
        )
        points, logit = run(self._session, crop.pixels(rgb_HWC, self._side) / 255)
        presence = 1 / (1 + np.exp(-np.clip(float(logit.item()), -100, 100)))
        return crop.to_frame(points.reshape(468, 3), self._side), float(presence)


class Iris:
    """Centre and edge points of both irises."""

    def __init__(self) -> None:
        self._session = open_shipped("iris")
        self._side: int = self._session.get_inputs()[0].shape[1]

    def __call__(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray:
        """Irises (2, 5, 2) float32, right then left eye: the centre, then four points of the edge."""
        corners = landmarks_NC[EYE_CORNERS, :2].astype(np.float64)
        across = corners[1, 0] - corners[0, 0]
        angle = float(np.arctan2(across[1], across[0]))
        irises = np.empty((2, 5, 2), np.float32)
        for eye, (outer, inner) in enumerate(corners):
            centre, width = (outer + inner) / 2, float(np.hypot(*(outer - inner)))
            # The network takes left eyes only, so the right eye is mirrored.
            crop = RotatedRegion((centre[0], centre[1]), _IRIS_MARGIN * width, angle, mirrored=eye == 0)
            _, points = run(self._session, crop.pixels(rgb_HWC, self._side) / 255)
            irises[eye] = crop.to_frame(points.reshape(5, 3)[:, :2], self._side)
        return irises
