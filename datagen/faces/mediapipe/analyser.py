"""The embedded face analysis: BlazeFace, MediaPipe's mesh, iris and selfie networks, and dlib's identity network.

Another backend must have the same methods; no other module depends on the choice of backend.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from datagen.faces import tracking
from datagen.faces.boxes import iou
from datagen.faces.identity import INFO as IDENTITY_INFO
from datagen.faces.identity import DlibIdentity
from datagen.faces.mediapipe.blazeface import BlazeFace, around, merge, tiles, whole_frame
from datagen.faces.mediapipe.mesh import FaceMesh, Iris
from datagen.faces.mediapipe.region import RotatedRegion
from datagen.faces.mediapipe.segmentation import SelfieSegmentation
from datagen.faces.mediapipe.shipped import shipped
from datagen.faces.types import Detection, Faces
from datagen.weights.onnx import ModelInfo

_SURROUNDINGS = 4.0  # side of the square searched near a face, over the face's side
_MIN_PRESENCE = 0.8  # lowest presence of a detected face: faces mostly score 1.0, non-faces up to 0.6
_TILES_FROM = 640  # longer side of a frame from which tiles are searched too; below, such faces are too small


class FaceAnalyser:
    """Face analysis for the pipeline. Frames are RGB uint8 (H, W, 3).

    Each network is loaded at its first use and kept; the same frame always gives the same floats.
    """

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The networks used, for the index; this loads none of them."""
        names = ("blazeface_short", "blazeface_full", "face_mesh", "iris", "selfie")
        return (*(shipped(name) for name in names), IDENTITY_INFO)

    def detect(self, rgb_HWC: np.ndarray, near: np.ndarray | None = None) -> list[Detection]:
        """Faces of a frame, highest score first; detections that the mesh does not confirm as faces are left out.

        Finds faces down to about 1/24 of the frame's longer side; where no such face is found, down to 1/48.

        Args:
            rgb_HWC: the frame.
            near: a face box; only its surroundings are searched, at a higher resolution and in less time.
        """
        if near is not None:
            region = [around(near, _SURROUNDINGS)]
            return merge(
                self._confirmed(rgb_HWC, self._short, region) or self._confirmed(rgb_HWC, self._full, region)
            )
        frame = [whole_frame(rgb_HWC)]
        found = self._confirmed(rgb_HWC, self._short, frame) + self._confirmed(rgb_HWC, self._full, frame)
        if not found and max(rgb_HWC.shape[:2]) > _TILES_FROM:
            found = self._confirmed(rgb_HWC, self._full, tiles(rgb_HWC))
        return merge(found)

    def landmarks(self, rgb_HWC: np.ndarray, detection: Detection) -> tuple[np.ndarray, float]:
        """Landmarks (468, 3) float32 of a detected face, and its presence 0..1, the probability that it is a face."""
        return self._mesh.refined(rgb_HWC, detection)

    def follow(self, rgb_HWC: np.ndarray, previous_NC: np.ndarray) -> tuple[np.ndarray, float]:
        """Landmarks (468, 3) float32 and presence of a face, given its landmarks in the previous frame."""
        return self._mesh.from_previous(rgb_HWC, previous_NC)

    def irises(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray:
        """Irises (2, 5, 2) float32 of a face, right then left eye: the centre, then four points of the edge."""
        return self._iris(rgb_HWC, landmarks_NC)

    def track(
        self, frames: Iterable[np.ndarray], first: Detection | None = None, *, irises: bool = True
    ) -> Faces:
        """Track one face through the frames of a shot; one frame is in memory at a time.

        The face is `first`, a detection in the first frame, or else the largest face of the first frame that has one.
        The mesh tracks it from frame to frame. When the mesh loses it, the detector searches near its last position,
        so that it is not confused with another person. `irises=False` takes half the time; the irises are then NaN.
        """
        return tracking.track(self, frames, first, irises=irises)

    def embed(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray:
        """Identity embedding (128,) float32; one person's are less than `identity.SAME_PERSON` apart (Euclidean)."""
        return self._identity(rgb_HWC, landmarks_NC)

    def foreground(self, rgb_HWC: np.ndarray) -> np.ndarray:
        """Probability (H, W) float32 0..1 that a pixel belongs to a person."""
        return self._selfie(rgb_HWC)

    def _confirmed(
        self, rgb_HWC: np.ndarray, detector: BlazeFace, regions: list[RotatedRegion]
    ) -> list[list[Detection]]:
        """Detections in each region that the mesh confirms as faces; regions without any are left out."""
        found = []
        for region in regions:
            faces = [self._detected_closely(rgb_HWC, face, region) for face in detector(rgb_HWC, region)]
            found.append([face for face in faces if self.landmarks(rgb_HWC, face)[1] >= _MIN_PRESENCE])
        return [faces for faces in found if faces]

    def _detected_closely(self, rgb_HWC: np.ndarray, face: Detection, region: RotatedRegion) -> Detection:
        """A face that is small in the region, detected again in its surroundings, which gives more exact points."""
        surroundings = around(face.box, _SURROUNDINGS)
        if surroundings.size > 0.7 * region.size:
            return face
        again = [other for other in self._short(rgb_HWC, surroundings) if iou(other.box, face.box) > 0.3]
        return again[0] if again else face

    @cached_property
    def _short(self) -> BlazeFace:
        return BlazeFace("blazeface_short")

    @cached_property
    def _full(self) -> BlazeFace:
        return BlazeFace("blazeface_full")

    @cached_property
    def _mesh(self) -> FaceMesh:
        return FaceMesh()

    @cached_property
    def _iris(self) -> Iris:
        return Iris()

    @cached_property
    def _selfie(self) -> SelfieSegmentation:
        return SelfieSegmentation()

    @cached_property
    def _identity(self) -> DlibIdentity:
        return DlibIdentity()
