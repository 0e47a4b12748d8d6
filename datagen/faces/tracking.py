"""Follow one face through a shot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from datagen.faces import geometry
from datagen.faces.boxes import iou
from datagen.faces.types import SEEN, Detection, Faces

# Limits on the IoU of two face boxes.
_STEADY_IOU = 0.9  # successive frames: below it the detector checks the mesh, which lags behind fast motion
_AGREEING_IOU = 0.8  # mesh and detector in one frame: below it the detector's face is taken
_LOST_IOU = 0.3  # successive frames: below it the mesh has jumped to something else
_MAX_DISTANCE = 1.25  # in face sides: a detection without overlap must be nearer to the last known box
_CHECK_EVERY = 8  # frames after which the detector checks the mesh in any case, so that it cannot drift off


class Landmarker(Protocol):
    """The part of a face analyser that tracking needs; `FaceAnalyser` documents the methods."""

    def detect(self, rgb_HWC: np.ndarray, near: np.ndarray | None = None) -> list[Detection]: ...
    def landmarks(self, rgb_HWC: np.ndarray, detection: Detection) -> tuple[np.ndarray, float]: ...
    def follow(self, rgb_HWC: np.ndarray, previous_NC: np.ndarray) -> tuple[np.ndarray, float]: ...
    def irises(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray: ...


def track(
    backend: Landmarker, frames: Iterable[np.ndarray], first: Detection | None = None, *, irises: bool = True
) -> Faces:
    """Follow one face; see `FaceAnalyser.track`."""
    tracker = _Tracker(backend, first)
    unknown = np.full((2, 5, 2), np.nan, np.float32)
    landmarks, eyes, presence = [], [], []
    for frame in frames:
        points, seen = tracker.step(frame)
        landmarks.append(points)
        eyes.append(backend.irises(frame, points) if seen and irises else unknown)
        presence.append(seen)
    landmarks_FNC = np.array(landmarks, np.float32).reshape(-1, 468, 3)
    return Faces(
        landmarks=landmarks_FNC,
        irises=np.array(eyes, np.float32).reshape(-1, 2, 5, 2),
        presence=np.array(presence, np.float32),
        pose=geometry.pose(landmarks_FNC),
        box=geometry.face_box(landmarks_FNC),
    )


class _Tracker:
    """The state carried from frame to frame."""

    def __init__(self, backend: Landmarker, first: Detection | None) -> None:
        self._backend = backend
        self._first = first
        self._points: np.ndarray | None = (
            None  # landmarks in the previous frame; None if no face was seen there
        )
        self._box: np.ndarray | None = None if first is None else first.box  # last known
        self._unchecked = 0  # frames since the detector ran

    def step(self, frame: np.ndarray) -> tuple[np.ndarray, float]:
        """Landmarks and presence in the next frame; NaN and 0 when the face is not seen."""
        followed = found = self._follow(frame)
        self._unchecked += 1
        if followed is None or self._unchecked >= _CHECK_EVERY or not self._steady(followed[0]):
            self._unchecked = 0
            searched = self._search(frame)
            if searched is not None and (
                followed is None or _overlap(followed[0], searched[0]) < _AGREEING_IOU
            ):
                found = searched
        if found is None:
            self._points = None
            return np.full((468, 3), np.nan, np.float32), 0.0
        self._points, presence = found
        self._box = geometry.face_box(self._points)
        return self._points, presence

    def _follow(self, frame: np.ndarray) -> tuple[np.ndarray, float] | None:
        if self._points is None:
            return None
        points, presence = self._backend.follow(frame, self._points)
        jumped = _overlap(points, self._points) < _LOST_IOU
        return None if jumped or presence < SEEN else (points, presence)

    def _steady(self, points_NC: np.ndarray) -> bool:
        return self._points is not None and _overlap(points_NC, self._points) >= _STEADY_IOU

    def _search(self, frame: np.ndarray) -> tuple[np.ndarray, float] | None:
        first, self._first = self._first, None
        detections = [first] if first is not None else self._backend.detect(frame, near=self._box)
        if self._box is None:
            choice = max(detections, key=lambda detection: _area(detection.box), default=None)
        else:
            choice = self._nearest(detections, self._box)
        if choice is None:
            return None
        points, presence = self._backend.landmarks(frame, choice)
        return (points, presence) if presence >= SEEN else None

    @staticmethod
    def _nearest(detections: list[Detection], box: np.ndarray) -> Detection | None:
        """The detection that overlaps `box` most or, if none does, the nearest one of similar size; None if too far."""
        side = np.sqrt(_area(box))

        def distance(detection: Detection) -> float:
            """In face sides."""
            centres = (detection.box[:2] + detection.box[2:] - box[:2] - box[2:]) / 2
            return float(np.hypot(*centres)) / side

        def fits(detection: Detection) -> bool:
            return distance(detection) < _MAX_DISTANCE and 0.5 < np.sqrt(_area(detection.box)) / side < 2

        near = [detection for detection in detections if fits(detection)]
        return max(near, key=lambda detection: (iou(detection.box, box), -distance(detection)), default=None)


def _overlap(first_NC: np.ndarray, second_NC: np.ndarray) -> float:
    return iou(geometry.face_box(first_NC), geometry.face_box(second_NC))


def _area(box: np.ndarray) -> float:
    return float(np.prod(box[2:] - box[:2]))
