"""Follow one face through a shot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from datagen.faces import geometry
from datagen.faces.blazeface import iou
from datagen.faces.types import Detection, Faces

SEEN = 0.5
"""Presence from which a face counts as there."""

_STEADY = 0.4  # IoU of the face boxes of successive frames below which the mesh has jumped
_RECHECK = 8  # frames between comparisons with the detector, against creeping onto something else


class Landmarker(Protocol):
    """What tracking needs of a backend; `FaceAnalyser` documents each."""

    def detect(self, rgb_HWC: np.ndarray) -> list[Detection]: ...
    def landmarks(self, rgb_HWC: np.ndarray, detection: Detection) -> tuple[np.ndarray, float]: ...
    def follow(self, rgb_HWC: np.ndarray, previous_NC: np.ndarray) -> tuple[np.ndarray, float]: ...
    def irises(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray: ...


def track(backend: Landmarker, frames: Iterable[np.ndarray], first: Detection | None = None) -> Faces:
    """Follow one face; see `FaceAnalyser.track`."""
    tracker = _Tracker(backend, first)
    landmarks, irises, presence = [], [], []
    for frame in frames:
        points, seen = tracker.step(frame)
        landmarks.append(points)
        irises.append(backend.irises(frame, points) if seen else np.full((2, 5, 2), np.nan, np.float32))
        presence.append(seen)
    landmarks_FNC = np.array(landmarks, np.float32).reshape(-1, 468, 3)
    return Faces(
        landmarks=landmarks_FNC,
        irises=np.array(irises, np.float32).reshape(-1, 2, 5, 2),
        presence=np.array(presence, np.float32),
        pose=geometry.pose(landmarks_FNC),
        box=geometry.face_box(landmarks_FNC),
    )


class _Tracker:
    """The state carried from frame to frame."""

    def __init__(self, backend: Landmarker, first: Detection | None) -> None:
        self._backend = backend
        self._start = first
        self._points: np.ndarray | None = None  # of the frame before, None when the face was not seen there
        self._box: np.ndarray | None = None if first is None else first.box  # last known place
        self._since_check = 0

    def step(self, frame: np.ndarray) -> tuple[np.ndarray, float]:
        """Landmarks and presence in the next frame; NaN and 0 when the face is not seen."""
        found = self._follow(frame) or self._search(frame)
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
        box = geometry.face_box(points)
        if presence < SEEN or iou(box, geometry.face_box(self._points)) < _STEADY:
            return None
        self._since_check += 1
        if self._since_check >= _RECHECK:
            self._since_check = 0
            nearest = self._nearest(self._backend.detect(frame), box)
            if nearest is not None and iou(nearest.box, box) < _STEADY:
                return None
        return points, presence

    def _search(self, frame: np.ndarray) -> tuple[np.ndarray, float] | None:
        self._since_check = 0
        start, self._start = self._start, None
        detections = [start] if start is not None else self._backend.detect(frame)
        if self._box is None:
            choice = max(detections, key=lambda detection: _area(detection.box), default=None)
        else:
            choice = self._nearest(detections, self._box)
        if choice is None:
            return None
        points, presence = self._backend.landmarks(frame, choice)
        # The second look starts from an upright, tighter crop and is what following would see.
        points, presence = self._backend.follow(frame, points) if presence >= SEEN else (points, presence)
        return (points, presence) if presence >= SEEN else None

    @staticmethod
    def _nearest(detections: list[Detection], box: np.ndarray) -> Detection | None:
        """The detection that overlaps `box` best or, if none does, lies within a face of it and is of its size."""
        side = np.sqrt(_area(box))

        def far(detection: Detection) -> float:
            centres = (detection.box[:2] + detection.box[2:] - box[:2] - box[2:]) / 2
            return float(np.hypot(*centres)) / side

        def fits(detection: Detection) -> bool:
            return far(detection) < 1 and 0.5 < np.sqrt(_area(detection.box)) / side < 2

        near = [detection for detection in detections if fits(detection)]
        return max(near, key=lambda detection: (iou(detection.box, box), -far(detection)), default=None)


def _area(box: np.ndarray) -> float:
    return float(np.prod(box[2:] - box[:2]))
