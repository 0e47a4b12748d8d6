"""Motion of a stream compared with its source, in the units of the index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datagen.common.errors import Refusal
from datagen.faces import geometry
from datagen.faces.types import Faces

# Standard deviation of the source from which a correlation is computed; below, it would be mostly noise.
_MIN_MOTION = {"pose": 2.0, "mouth": 0.03, "eyes": 0.03}  # degrees of yaw, eye distances, eye widths


@dataclass(frozen=True)
class Motion:
    """Differences between the motion of a source and of another stream.

    Attributes:
        pose_rms: root mean square difference of the head pose over frames and the three angles, in degrees.
        mouth_rms: the same of the mouth opening, in eye distances.
        eyes_rms: the same of the eye opening, in eye widths.
        pose_corr: correlation of yaw; None where the source hardly moves.
        mouth_corr: correlation of mouth opening; None where the source hardly moves.
        eyes_corr: correlation of eye opening; None where the source hardly moves.
        landmark_error: mean distance of the landmarks in the picture plane, in eye distances.
        lost: share of the source's frames with a face in which the other stream shows none.
    """

    pose_rms: float
    mouth_rms: float
    eyes_rms: float
    pose_corr: float | None
    mouth_corr: float | None
    eyes_corr: float | None
    landmark_error: float
    lost: float


def motion(source: Faces, other: Faces) -> Motion:
    """Motion of another stream compared with its source, over the frames in which both show a face.

    Raises:
        Refusal: `no_face`, there is no such frame.
    """
    both = source.seen & other.seen
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
        pose_corr=_correlation(source.pose[both, 0], other.pose[both, 0], _MIN_MOTION["pose"]),
        mouth_corr=_correlation(*mouth, _MIN_MOTION["mouth"]),
        eyes_corr=_correlation(*eyes, _MIN_MOTION["eyes"]),
        landmark_error=float((distance / geometry.eye_distance(one)).mean()),
        lost=1 - float(both.sum() / source.seen.sum()),
    )


def _rms(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(one.astype(np.float64) - other))))


def _correlation(one: np.ndarray, other: np.ndarray, min_motion: float) -> float | None:
    if len(one) < 3 or one.std() < min_motion or other.std() < 1e-6:
        return None
    return float(np.corrcoef(one, other)[0, 1])
