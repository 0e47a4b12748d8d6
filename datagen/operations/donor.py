"""Portraits that can lend their identity: what makes one fit, checked like a clip is.

Shapes: `H` height, `W` width, `C` channels or coordinates, `N` landmarks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np

from datagen.errors import Refusal
from datagen.faces import geometry
from datagen.faces.topology import CHIN
from datagen.faces.types import Detection
from datagen.operations import colour

_CROP = 2.4  # side of a donor's crop over its squared face box
_LARGEST = 768  # pixels; a donor's crop is never kept larger
_SHARPNESS_SIDE = 128  # pixels, as in the clip table
_GLABELLA, _LIP_CORNERS = 9, (61, 291)
_BROWS_TO_EYES = ((107, 133), (336, 362))  # inner end of a brow, inner corner of its eye


class PortraitAnalyser(Protocol):
    """The parts of a face analyser that a portrait's check needs."""

    def detect(self, rgb_HWC: np.ndarray) -> list[Detection]: ...
    def landmarks(self, rgb_HWC: np.ndarray, detection: Detection) -> tuple[np.ndarray, float]: ...
    def follow(self, rgb_HWC: np.ndarray, previous_NC: np.ndarray) -> tuple[np.ndarray, float]: ...
    def irises(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray: ...
    def embed(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Donor:
    """A portrait cropped around its face, with everything a swap needs.

    Attributes:
        name: unique in its pool.
        image: (H, W, 3) uint8 RGB crop.
        landmarks: (468, 3) float32 in the crop's pixels.
        embedding: (128,) float32 identity.
        sha256: of the portrait's file or, where there is none, of its pixels; hexadecimal.
        licence: as stated where the portrait comes from.
        origin: where it comes from.
        colour: False for black-and-white portraits.
        score: how good a portrait it is, 0..1, see `frame_score`.
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


@dataclass(frozen=True)
class Limits:
    """What a portrait must reach. Lengths are in pixels, angles in degrees, openings as in `faces.geometry`.

    The limits on proportions tell drawn faces from filmed ones: drawn eyes and irises are too large for the face.
    They let realistic paintings pass. Chosen on 36 portraits and 13 clips; see `docs/benchmarks.md`.
    """

    min_side: float = 90.0
    min_presence: float = 0.8
    max_yaw: float = 20.0
    max_pitch: float = 16.0
    min_sharpness: float = 30.0
    max_mouth_opening: float = 0.20
    max_mouth_width: float = 1.10
    min_eye_opening: float = 0.18
    min_brow_height: float = 0.40
    min_chroma: float = 10.0
    max_chroma: float = 45.0
    min_iris: float = 0.135
    max_iris: float = 0.205
    large_iris: float = 0.18
    short_face: float = 1.96
    colourless: bool = False
    drawn: bool = False


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Portrait:
    """What is measured of a portrait.

    Attributes:
        side: of the squared face box, pixels.
        yaw: degrees.
        pitch: degrees.
        sharpness: Laplacian variance of the face at 128 pixels.
        mouth_opening: between the lips, in eye distances.
        mouth_width: in eye distances.
        eye_opening: in eye widths.
        brow_height: inner brow over inner corner of the eye, in eye distances.
        iris: diameter of the iris in eye distances; about 0.15 to 0.19 in people.
        face_length: brows to chin in eye distances; 2 to 2.3 in adults, 1.9 in small children.
        chroma: of the skin, Lab.
        hue: of the skin, degrees; 20 to 65 in people.
    """

    side: float
    yaw: float
    pitch: float
    sharpness: float
    mouth_opening: float
    mouth_width: float
    eye_opening: float
    brow_height: float
    iris: float
    face_length: float
    chroma: float
    hue: float


def measure(image_HWC: np.ndarray, landmarks_NC: np.ndarray, irises: np.ndarray) -> Portrait:
    """Measure a portrait; `irises` (2, 5, 2) as the analyser gives them."""
    box = geometry.face_box(landmarks_NC)
    yaw, pitch, _ = (float(angle) for angle in geometry.pose(landmarks_NC))
    unit = float(geometry.eye_distance(landmarks_NC))

    def between(one: int, other: int) -> float:
        return float(np.linalg.norm(landmarks_NC[one] - landmarks_NC[other])) / unit

    across = np.linalg.norm(irises[:, 1:3] - irises[:, 3:5], axis=-1)
    tone = colour.Tone.of(image_HWC, landmarks_NC).median
    return Portrait(
        side=float(max(box[2:] - box[:2])),
        yaw=yaw,
        pitch=pitch,
        sharpness=sharpness(image_HWC, box),
        mouth_opening=float(geometry.mouth_opening(landmarks_NC)),
        mouth_width=between(*_LIP_CORNERS),
        eye_opening=float(geometry.eye_opening(landmarks_NC)),
        brow_height=float(np.mean([between(*pair) for pair in _BROWS_TO_EYES])),
        iris=float(across.mean()) / unit,
        face_length=between(CHIN, _GLABELLA),
        chroma=float(np.hypot(tone[1], tone[2])),
        hue=float(np.degrees(np.arctan2(tone[2], tone[1]))),
    )


def check_portrait(
    image_HWC: np.ndarray,
    analyser: PortraitAnalyser,
    *,
    name: str = "",
    sha256: str = "",
    licence: str = "unstated",
    origin: str = "",
    allow_drawn: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Donor:
    """Make a donor of a portrait.

    Args:
        image_HWC: (H, W, 3) uint8 RGB.
        analyser: the face analysis.
        name: unique in the pool.
        sha256: of the portrait's file; of its pixels when empty.
        licence: as stated by its origin.
        origin: where it comes from.
        allow_drawn: take drawn, painted and sculpted faces too.
        limits: what it must reach.

    Raises:
        Refusal: it is not fit, with the reason and the number.
    """
    detections = analyser.detect(image_HWC)
    if not detections:
        raise Refusal("no_face", "no face found", "use a portrait that shows one face from the front")
    largest = max(detections, key=_side)
    rivals = [one for one in detections if one is not largest and _side(one) > 0.5 * _side(largest)]
    if rivals:
        raise Refusal("several_faces", f"{1 + len(rivals)} faces of similar size", "crop the portrait to one face")
    landmarks_NC, presence = analyser.follow(image_HWC, analyser.landmarks(image_HWC, largest)[0])
    if presence < limits.min_presence:
        raise Refusal("no_face", f"presence of a face is {presence:.2f}, needed {limits.min_presence:g}")
    found = measure(image_HWC, landmarks_NC, analyser.irises(image_HWC, landmarks_NC))
    refuse_unfit(found, replace(limits, drawn=limits.drawn or allow_drawn))
    embedding = analyser.embed(image_HWC, landmarks_NC)
    image, landmarks = _crop(image_HWC, landmarks_NC)
    sha256 = sha256 or hashlib.sha256(np.ascontiguousarray(image_HWC)).hexdigest()
    colourful = found.chroma >= limits.min_chroma
    score = frame_score(landmarks_NC, image_HWC)
    return Donor(name, image, landmarks, embedding, sha256, licence, origin, colourful, score)


def refuse_unfit(found: Portrait, limits: Limits) -> None:
    """Check the measures of a portrait against the limits.

    Raises:
        Refusal: with the first reason that applies.
    """
    for failed, reason, message in (
        (found.side < limits.min_side, "too_small", f"face of {found.side:.0f} px, needed {limits.min_side:g}"),
        (abs(found.yaw) > limits.max_yaw, "yaw", f"yaw {found.yaw:.0f} degrees, allowed {limits.max_yaw:g}"),
        (abs(found.pitch) > limits.max_pitch, "yaw", f"pitch {found.pitch:.0f} degrees, allowed {limits.max_pitch:g}"),
        (
            found.sharpness < limits.min_sharpness,
            "blurred",
            f"sharpness {found.sharpness:.0f}, needed {limits.min_sharpness:g}",
        ),
        (
            not limits.colourless and found.chroma < limits.min_chroma,
            "colourless",
            f"chroma of the skin {found.chroma:.1f}, needed {limits.min_chroma:g}",
        ),
        (
            found.eye_opening < limits.min_eye_opening or found.iris < limits.min_iris,
            "expression",
            f"eyes open {found.eye_opening:.2f} of their width (needed {limits.min_eye_opening:g}), "
            f"iris {found.iris:.3f} eye distances (needed {limits.min_iris:g})",
        ),
        (
            found.mouth_opening > limits.max_mouth_opening or found.mouth_width > limits.max_mouth_width,
            "expression",
            f"mouth open {found.mouth_opening:.2f} (allowed {limits.max_mouth_opening:g}), "
            f"wide {found.mouth_width:.2f} eye distances (allowed {limits.max_mouth_width:g})",
        ),
        (
            found.brow_height < limits.min_brow_height,
            "expression",
            f"brows {found.brow_height:.2f} eye distances over the eyes, needed {limits.min_brow_height:g}",
        ),
        (
            not limits.drawn and looks_drawn(found, limits),
            "drawn_face",
            f"iris {found.iris:.3f}, face length {found.face_length:.2f} eye distances, skin chroma "
            f"{found.chroma:.0f} and hue {found.hue:.0f} degrees are not those of a filmed face",
        ),
    ):
        if failed:
            raise Refusal(reason, message, "use a frontal, sharp, neutral colour photograph of one face")


def looks_drawn(found: Portrait, limits: Limits) -> bool:
    """Whether eyes, proportions or colour of a face are those of a drawing; realistic paintings pass."""
    childlike = found.iris > limits.large_iris and found.face_length < limits.short_face
    odd_colour = found.chroma > limits.max_chroma or (found.chroma > limits.min_chroma and not 10 < found.hue < 75)
    return childlike or found.iris > limits.max_iris or odd_colour


def sharpness(image_HWC: np.ndarray, box_xyxy: np.ndarray) -> float:
    """Laplacian variance of the face box at 128 pixels; about 20 blurred, 100 and more sharp."""
    height, width = image_HWC.shape[:2]
    x0, y0 = (int(np.clip(value, 0, limit - 1)) for value, limit in zip(box_xyxy[:2], (width, height), strict=True))
    x1, y1 = (int(np.clip(value, low + 1, limit)) for value, low, limit in zip(box_xyxy[2:], (x0, y0), (width, height), strict=True))
    face = cv2.resize(image_HWC[y0:y1, x0:x1], (_SHARPNESS_SIDE, _SHARPNESS_SIDE), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())


def frame_score(landmarks_NC: np.ndarray, image_HWC: np.ndarray) -> float:
    """How well a frame of a clip would serve as a donor's portrait, 0..1: frontal, neutral, eyes open, sharp.

    Curation keeps each clip's best frame; whether that one is fit is decided by `check_portrait`.
    """
    if not np.isfinite(landmarks_NC).all():
        return 0.0
    yaw, pitch, _ = geometry.pose(landmarks_NC)
    frontal = np.exp(-((yaw / 15) ** 2) - (pitch / 20) ** 2)
    closed_mouth = np.exp(-((float(geometry.mouth_opening(landmarks_NC)) / 0.12) ** 2))
    open_eyes = np.clip(float(geometry.eye_opening(landmarks_NC)) / 0.28, 0, 1) ** 2
    sharp = np.clip(np.log2(1 + sharpness(image_HWC, geometry.face_box(landmarks_NC))) / 8, 0, 1)
    return float(frontal * closed_mouth * open_eyes * sharp)


def _side(detection: Detection) -> float:
    return float(max(detection.box[2:] - detection.box[:2]))


def _crop(image_HWC: np.ndarray, landmarks_NC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Square around the face, as far as the picture goes, at most `_LARGEST` pixels."""
    box = geometry.square(geometry.face_box(landmarks_NC))
    centre, half = (box[:2] + box[2:]) / 2, _CROP / 2 * (box[2] - box[0])
    limit = np.array(image_HWC.shape[1::-1])
    (x0, y0), (x1, y1) = (np.clip(np.round(corner), 0, limit).astype(int) for corner in (centre - half, centre + half))
    image = np.ascontiguousarray(image_HWC[y0:y1, x0:x1])
    landmarks = landmarks_NC - np.array([x0, y0, 0], np.float32)
    return colour.shrunk(image, landmarks, _LARGEST / max(image.shape[:2]))
