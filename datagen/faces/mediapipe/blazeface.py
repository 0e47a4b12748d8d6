"""MediaPipe's BlazeFace detectors (short and full range), and non-maximum suppression of their candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datagen.faces.boxes import iou
from datagen.faces.mediapipe.region import RotatedRegion
from datagen.faces.mediapipe.shipped import open_shipped
from datagen.faces.types import Detection
from datagen.weights.onnx import run

_SAME_FACE_IOU = 0.3  # IoU from which two candidates are the same face, as in MediaPipe


class BlazeFace:
    """One detector network.

    Args:
        name: "blazeface_short" (faces from about a fifth of the picture) or "blazeface_full" (smaller ones too).
        threshold: lowest score returned.
    """

    def __init__(self, name: str, threshold: float = 0.5) -> None:
        self._session = open_shipped(name)
        self._side: int = self._session.get_inputs()[0].shape[1]
        self._anchors = _anchors(self._side, ((8, 2), (16, 6)) if name == "blazeface_short" else ((4, 1),))
        self._threshold = threshold

    def __call__(self, rgb_HWC: np.ndarray, region: RotatedRegion | None = None) -> list[Detection]:
        """Detect in a square region, by default the smallest one around the whole frame; highest score first."""
        region = region or whole_frame(rgb_HWC)
        values, logits = run(self._session, region.pixels(rgb_HWC, self._side) / 127.5 - 1)
        scores = 1 / (1 + np.exp(-np.clip(logits[:, 0].astype(np.float64), -100, 100)))
        likely = np.flatnonzero(scores >= self._threshold)
        found = []
        for index in likely:
            numbers, anchor = values[index].reshape(8, 2), self._anchors[index]
            centre, half = numbers[0] + anchor, numbers[1] / 2
            points = region.to_frame(
                np.vstack([centre - half, centre + half, numbers[2:] + anchor]), self._side
            )
            found.append(Detection(points[:2].reshape(4), points[2:], float(scores[index])))
        return _blend(found)


def whole_frame(rgb_HWC: np.ndarray) -> RotatedRegion:
    """Smallest square that is centred on a frame and contains all of it."""
    height, width = rgb_HWC.shape[:2]
    return RotatedRegion(((width - 1) / 2, (height - 1) / 2), float(max(height, width)))


def around(box: np.ndarray, times: float) -> RotatedRegion:
    """Square around a box, with `times` the box's longer side."""
    centre = (box[:2] + box[2:]) / 2
    return RotatedRegion((float(centre[0]), float(centre[1])), times * float(max(box[2:] - box[:2])))


def tiles(rgb_HWC: np.ndarray) -> list[RotatedRegion]:
    """Overlapping squares that cover a frame, each with half of its longer side."""
    height, width = rgb_HWC.shape[:2]
    side = max(height, width) / 2
    rows, columns = (_spread(length, side) for length in (height, width))
    return [RotatedRegion((x, y), side) for y in rows for x in columns]


def _spread(length: int, side: float) -> list[float]:
    """Centres of squares that cover a length; neighbours overlap by a fifth or more."""
    if length <= side:
        return [(length - 1) / 2]
    count = int(np.ceil((length - side) / (0.8 * side))) + 1
    return [float(centre) for centre in np.linspace(side / 2, length - side / 2, count) - 0.5]


def merge(lists: Sequence[list[Detection]]) -> list[Detection]:
    """Detections of several searches in one frame, each face once: the first list with a face gives its detection."""
    kept: list[Detection] = []
    for detections in lists:
        kept += [new for new in detections if all(iou(new.box, old.box) < _SAME_FACE_IOU for old in kept)]
    return sorted(kept, key=lambda detection: -detection.score)


def _blend(candidates: list[Detection]) -> list[Detection]:
    """Weighted non-maximum suppression: a face is the score-weighted mean of all candidates that overlap the best."""
    rest = sorted(candidates, key=lambda candidate: -candidate.score)
    faces = []
    while rest:
        best = rest[0]
        same = [
            candidate
            for candidate in rest
            if candidate is best or iou(candidate.box, best.box) > _SAME_FACE_IOU
        ]
        rest = [candidate for candidate in rest if not any(candidate is other for other in same)]
        weights = np.array([candidate.score for candidate in same])
        box = np.average([candidate.box for candidate in same], axis=0, weights=weights)
        points = np.average([candidate.points for candidate in same], axis=0, weights=weights)
        faces.append(Detection(box.astype(np.float32), points.astype(np.float32), best.score))
    return faces


def _anchors(side: int, layers: Sequence[tuple[int, int]]) -> np.ndarray:
    """Anchor centres in input pixels: for each (stride, count) a grid with `count` anchors per cell, in row order."""
    grids = []
    for stride, count in layers:
        centres = (np.arange(side // stride) + 0.5) * stride
        rows, columns = np.meshgrid(centres, centres, indexing="ij")
        grids.append(np.repeat(np.stack([columns, rows], axis=-1).reshape(-1, 2), count, axis=0))
    return np.concatenate(grids).astype(np.float32)
