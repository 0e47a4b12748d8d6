"""What an operation did to a clip: identity, motion and flicker, in the units of the index.

Shapes: `F` frames, `H` height, `W` width, `C` channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from datagen.common.errors import Refusal
from datagen.donors.donor import Donor
from datagen.faces import geometry
from datagen.faces.types import Faces

# Standard deviation of the source from which a correlation means something; below it is mostly noise.
_MOVES = {"pose": 2.0, "mouth": 0.03, "eyes": 0.03}  # degrees of yaw, eye distances, eye widths
_FLICKER_SIDE = 128  # pixels; finer change is compression noise
_FLICKER_FLOOR = 0.003  # of the contrast; what an entirely still source is taken to flicker


class Identifier(Protocol):
    """The part of a face analyser that identity needs."""

    def embed(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Identity:
    """Mean Euclidean distances of identity embeddings.

    Attributes:
        to_source: from swapped frames to the same frames of the source.
        to_donor: from swapped frames to the donor.
        closer: share of frames closer to the donor than to the source.
    """

    to_source: float
    to_donor: float
    closer: float


@dataclass(frozen=True)
class Motion:
    """How well another stream keeps the source's motion.

    Attributes:
        pose_rms: head pose, root mean square over frames and the three angles, degrees.
        mouth_rms: mouth opening, in eye distances.
        eyes_rms: eye opening, in eye widths.
        pose_corr: correlation of yaw; None where the source hardly moves.
        mouth_corr: correlation of mouth opening; None where the source hardly moves.
        eyes_corr: correlation of eye opening; None where the source hardly moves.
        landmark_error: mean distance of landmarks in the picture over the eye distance.
        lost: share of the source's frames in which the other stream shows no face.
    """

    pose_rms: float
    mouth_rms: float
    eyes_rms: float
    pose_corr: float | None
    mouth_corr: float | None
    eyes_corr: float | None
    landmark_error: float
    lost: float


def identity(
    source_FHWC: np.ndarray,
    source_faces: Faces,
    swapped_FHWC: np.ndarray,
    swapped_faces: Faces,
    donor: Donor,
    analyser: Identifier,
    frames: int = 5,
) -> Identity:
    """Identity of a swapped clip on `frames` evenly spread frames.

    Raises:
        Refusal: `no_face`, there is no frame where both streams show a face.
    """
    both = np.flatnonzero(_seen(source_faces) & _seen(swapped_faces))
    if len(both) == 0:
        raise Refusal("no_face", "the swapped clip shows no face")
    positions = np.linspace(0, len(both) - 1, min(frames, len(both))).round().astype(int)
    to_source, to_donor = [], []
    for index in both[positions]:
        swapped = analyser.embed(swapped_FHWC[index], swapped_faces.landmarks[index])
        source = analyser.embed(source_FHWC[index], source_faces.landmarks[index])
        to_source.append(float(np.linalg.norm(swapped - source)))
        to_donor.append(float(np.linalg.norm(swapped - donor.embedding)))
    closer = float(np.mean(np.less(to_donor, to_source)))
    return Identity(float(np.mean(to_source)), float(np.mean(to_donor)), closer)


def motion(source: Faces, other: Faces) -> Motion:
    """Motion of another stream against its source, over the frames where both show a face.

    Raises:
        Refusal: `no_face`, there is no such frame.
    """
    seen, both = _seen(source), _seen(source) & _seen(other)
    if not both.any():
        raise Refusal("no_face", "the result shows no face that could be followed")
    one, two = source.landmarks[both], other.landmarks[both]
    mouth = geometry.mouth_opening(one), geometry.mouth_opening(two)
    eyes = geometry.eye_opening(one), geometry.eye_opening(two)
    distance = np.linalg.norm(one[..., :2] - two[..., :2], axis=-1).mean(axis=-1)
    return Motion(
        pose_rms=_rms(source.pose[both], other.pose[both]),
        mouth_rms=_rms(*mouth),
        eyes_rms=_rms(*eyes),
        pose_corr=_correlation(source.pose[both, 0], other.pose[both, 0], _MOVES["pose"]),
        mouth_corr=_correlation(*mouth, _MOVES["mouth"]),
        eyes_corr=_correlation(*eyes, _MOVES["eyes"]),
        landmark_error=float((distance / geometry.eye_distance(one)).mean()),
        lost=1 - float(both.sum() / seen.sum()),
    )


def flicker(source_FHWC: np.ndarray, other_FHWC: np.ndarray, faces: Faces) -> float:
    """Flicker of another stream over the source's, 1 where it is the same; 1 for clips under three frames.

    Flicker is the mean second difference of luma in time (change that does not go on like motion does) around the
    face, over the luma's contrast there.
    """
    if len(source_FHWC) < 3:
        return 1.0
    boxes = faces.box[np.isfinite(faces.box).all(axis=1)]
    height, width = source_FHWC.shape[1:3]
    x0, y0, x1, y1 = 0, 0, width, height
    if len(boxes):
        side = float((boxes[:, 2:] - boxes[:, :2]).max())
        x0, y0 = (int(max(0, value - 0.4 * side)) for value in boxes[:, :2].min(axis=0))
        x1, y1 = (int(value + 0.4 * side) for value in boxes[:, 2:].max(axis=0))
    values = [_unsteadiness(frames[:, y0:y1, x0:x1]) + _FLICKER_FLOOR for frames in (source_FHWC, other_FHWC)]
    return values[1] / values[0]


def mean_luma(frames_FHWC: np.ndarray) -> float:
    """Mean luma of a clip, 0..255."""
    return float(np.mean([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).mean() for frame in frames_FHWC]))


def gaze_movement(faces: Faces) -> float:
    """Standard deviation of the gaze over a clip, in eye widths, both directions together."""
    seen = _seen(faces)
    if not seen.any():
        return 0.0
    return float(np.sqrt(geometry.gaze(faces.landmarks[seen], faces.irises[seen]).var(axis=0).sum()))


def _seen(faces: Faces) -> np.ndarray:
    return (faces.presence > 0) & np.isfinite(faces.landmarks).all(axis=(1, 2))


def _rms(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(one.astype(np.float64) - other))))


def _correlation(one: np.ndarray, other: np.ndarray, moves: float) -> float | None:
    if len(one) < 3 or one.std() < moves or other.std() < 1e-6:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _unsteadiness(frames_FHWC: np.ndarray) -> float:
    """Mean absolute second difference of luma in time over its contrast."""
    size = (_FLICKER_SIDE, _FLICKER_SIDE)
    last: list[np.ndarray] = []
    change, contrast = [], []
    for frame in frames_FHWC:
        luma = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        last.append(luma.astype(np.float32))
        contrast.append(float(luma.std()))
        if len(last) == 3:
            change.append(float(np.abs(last[0] - 2 * last[1] + last[2]).mean()))
            del last[0]
    return float(np.mean(change)) / max(float(np.mean(contrast)), 1.0)
