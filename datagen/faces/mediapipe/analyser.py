"""The embedded face analysis: BlazeFace, MediaPipe's mesh, iris and selfie networks, and dlib's identity.

Another backend offers the same methods; nothing else in the project knows which one is at work.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from datagen.faces import tracking
from datagen.faces.boxes import iou
from datagen.faces.identity import INFO as IDENTITY_INFO
from datagen.faces.identity import DlibIdentity
from datagen.faces.mediapipe.blazeface import BlazeFace, around, merge, tiles, whole
from datagen.faces.mediapipe.mesh import FaceMesh, Iris
from datagen.faces.mediapipe.region import RotatedRegion
from datagen.faces.mediapipe.segmentation import SelfieSegmentation
from datagen.faces.mediapipe.shipped import shipped
from datagen.faces.types import Detection, Faces
from datagen.weights.onnx import ModelInfo

_SURROUNDINGS = 4.0  # side of the square searched near a face, over the face's side
_CONFIRMED = (
    0.8  # presence from which a detection is believed; on what is none, 0.6 occurs, on faces mostly 1.0
)
_CLOSER_LOOK_FROM = 640  # longer side of a frame; in a smaller one what a closer look finds is of no use


class FaceAnalyser:
    """Everything the pipeline asks about faces. Frames are RGB uint8 (H, W, 3).

    Each network is loaded when it is first used and kept; the same frame gives the same floats every time.
    """

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The networks behind the methods, for the index; none is loaded for this."""
        names = ("blazeface_short", "blazeface_full", "face_mesh", "iris", "selfie")
        return (*(shipped(name) for name in names), IDENTITY_INFO)

    def detect(self, rgb_HWC: np.ndarray, near: np.ndarray | None = None) -> list[Detection]:
        """The faces of a frame, best first; what the mesh does not confirm as a face is left out.

        Faces of about 1/24 of the frame's longer side are found beside larger ones, and half as large ones where
        there are no others.

        Args:
            rgb_HWC: the frame.
            near: a face box; only its surroundings are searched, more closely and in less time.
        """
        if near is not None:
            region = [around(near, _SURROUNDINGS)]
            return merge(
                self._confirmed(rgb_HWC, self._short, region) or self._confirmed(rgb_HWC, self._full, region)
            )
        frame = [whole(rgb_HWC)]
        found = self._confirmed(rgb_HWC, self._short, frame) + self._confirmed(rgb_HWC, self._full, frame)
        if not found and max(rgb_HWC.shape[:2]) > _CLOSER_LOOK_FROM:
            found = self._confirmed(rgb_HWC, self._full, tiles(rgb_HWC))
        return merge(found)

    def landmarks(self, rgb_HWC: np.ndarray, detection: Detection) -> tuple[np.ndarray, float]:
        """Landmarks (468, 3) float32 of a detected face, and the probability 0..1 that it is one."""
        return self._mesh.settled(rgb_HWC, detection)

    def follow(self, rgb_HWC: np.ndarray, previous_NC: np.ndarray) -> tuple[np.ndarray, float]:
        """Landmarks (468, 3) float32 and presence of a face, given its landmarks in the frame before."""
        return self._mesh.from_previous(rgb_HWC, previous_NC)

    def irises(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray:
        """Irises (2, 5, 2) float32 of a face, right then left eye: centre, then four points of the edge."""
        return self._iris(rgb_HWC, landmarks_NC)

    def track(
        self, frames: Iterable[np.ndarray], first: Detection | None = None, *, irises: bool = True
    ) -> Faces:
        """Follow one face through the frames of a shot, holding one frame at a time.

        The face is `first`, a detection in the first frame, or else the largest face of the first frame that has one.
        It is followed by its mesh and looked for again with the detector when the mesh loses it, always at its last
        place, so that another person in the picture is not mistaken for it. Without `irises`, which take half of the
        time, they are NaN.
        """
        return tracking.track(self, frames, first, irises=irises)

    def embed(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray:
        """Identity (128,) float32 of a face; Euclidean distances below `identity.SAME_PERSON` mean one person."""
        return self._identity(rgb_HWC, landmarks_NC)

    def foreground(self, rgb_HWC: np.ndarray) -> np.ndarray:
        """Probability (H, W) float32 0..1 that a pixel belongs to a person."""
        return self._selfie(rgb_HWC)

    def _confirmed(
        self, rgb_HWC: np.ndarray, detector: BlazeFace, regions: list[RotatedRegion]
    ) -> list[list[Detection]]:
        """The faces one detector sees in each region, without those in which the mesh sees none; no empty looks."""
        looks = []
        for region in regions:
            faces = [self._closer(rgb_HWC, face, region) for face in detector(rgb_HWC, region)]
            looks.append([face for face in faces if self.landmarks(rgb_HWC, face)[1] >= _CONFIRMED])
        return [look for look in looks if look]

    def _closer(self, rgb_HWC: np.ndarray, face: Detection, region: RotatedRegion) -> Detection:
        """The same face detected again in its surroundings, where it was small in the region: its points are poor."""
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
