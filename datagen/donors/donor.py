"""Check whether a portrait is suitable as a donor, and crop it.

Shapes: `H` height, `W` width, `C` channels or coordinates, `N` landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from datagen.common.errors import Refusal
from datagen.common.hashing import pixels_sha256
from datagen.donors.suitability import DEFAULT_LIMITS, PortraitLimits, frame_score, measure, refuse_unfit
from datagen.faces import geometry
from datagen.faces.types import Detection
from datagen.imaging import skin as colour

__all__ = ["Donor", "check_portrait", "frame_score"]

_CROP = 2.4  # side of a donor's crop over its squared face box
_LARGEST = 768  # largest side of a donor's crop in pixels


class PortraitAnalyser(Protocol):
    """The methods of a face analyser that the check of a portrait needs."""

    def detect(self, rgb_HWC: np.ndarray) -> list[Detection]: ...
    def landmarks(self, rgb_HWC: np.ndarray, detection: Detection) -> tuple[np.ndarray, float]: ...
    def follow(self, rgb_HWC: np.ndarray, previous_NC: np.ndarray) -> tuple[np.ndarray, float]: ...
    def irises(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray: ...
    def embed(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Donor:
    """A portrait cropped around its face, with all that a swap needs.

    Attributes:
        name: unique in its pool.
        image: (H, W, 3) uint8 RGB crop.
        landmarks: (468, 3) float32 in the crop's pixels.
        embedding: (128,) float32 identity embedding.
        sha256: hex digits; hash of the portrait's file or, if it has no file, of its pixels.
        licence: as its origin states it.
        origin: `set`, `donors` (a folder) or `bundled`.
        colour: False for black-and-white portraits.
        score: quality of the portrait, 0..1, see `frame_score`.
    """

    name: str
    image: np.ndarray
    landmarks: np.ndarray
    embedding: np.ndarray
    sha256: str = ""
    licence: str = "unstated"
    origin: str = ""
    colour: bool = True
    score: float = 0.0


def check_portrait(
    image_HWC: np.ndarray,
    analyser: PortraitAnalyser,
    *,
    name: str = "",
    sha256: str = "",
    licence: str = "unstated",
    origin: str = "",
    allow_drawn: bool = False,
    limits: PortraitLimits = DEFAULT_LIMITS,
) -> Donor:
    """Check a portrait and make a donor of it.

    Args:
        image_HWC: (H, W, 3) uint8 RGB.
        analyser: the face analysis.
        name: unique in the pool.
        sha256: hash of the portrait's file; if empty, that of its pixels is used.
        licence: as its origin states it.
        origin: where it comes from.
        allow_drawn: accept drawn, painted and sculpted faces too.
        limits: limits of the measures.

    Raises:
        Refusal: it is not suitable; with reason and measured value.
    """
    detections = analyser.detect(image_HWC)
    if not detections:
        raise Refusal("no_face", "no face found", "use a portrait that shows one face from the front")
    largest = max(detections, key=_side)
    rivals = [one for one in detections if one is not largest and _side(one) > 0.5 * _side(largest)]
    if rivals:
        raise Refusal(
            "several_faces", f"{1 + len(rivals)} faces of similar size", "crop the portrait to one face"
        )
    landmarks_NC, presence = analyser.follow(image_HWC, analyser.landmarks(image_HWC, largest)[0])
    if presence < limits.min_presence:
        raise Refusal("no_face", f"presence of a face is {presence:.2f}, needed {limits.min_presence:g}")
    found = measure(image_HWC, landmarks_NC, analyser.irises(image_HWC, landmarks_NC))
    refuse_unfit(found, replace(limits, drawn=limits.drawn or allow_drawn))
    embedding = analyser.embed(image_HWC, landmarks_NC)
    image, landmarks = _crop(image_HWC, landmarks_NC)
    sha256 = sha256 or pixels_sha256(image_HWC)
    colourful = found.chroma >= limits.min_chroma
    score = frame_score(landmarks_NC, image_HWC)
    return Donor(name, image, landmarks, embedding, sha256, licence, origin, colourful, score)


def _side(detection: Detection) -> float:
    return float(max(detection.box[2:] - detection.box[:2]))


def _crop(image_HWC: np.ndarray, landmarks_NC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Square around the face, cut at the edges of the picture, scaled to at most `_LARGEST` pixels."""
    box = geometry.square(geometry.face_box(landmarks_NC))
    centre, half = (box[:2] + box[2:]) / 2, _CROP / 2 * (box[2] - box[0])
    limit = np.array(image_HWC.shape[1::-1])
    (x0, y0), (x1, y1) = (
        np.clip(np.round(corner), 0, limit).astype(int) for corner in (centre - half, centre + half)
    )
    image = np.ascontiguousarray(image_HWC[y0:y1, x0:x1])
    landmarks = landmarks_NC - np.array([x0, y0, 0], np.float32)
    return colour.shrunk(image, landmarks, _LARGEST / max(image.shape[:2]))
