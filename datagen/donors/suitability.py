"""Whether a portrait is suitable as a donor: measures, limits, reasons.

Shapes: `H` height, `W` width, `C` channels or coordinates, `N` landmarks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from datagen.common.errors import Refusal
from datagen.faces import geometry
from datagen.faces.topology import CHIN
from datagen.imaging import skin as colour

_SHARPNESS_SIDE = 128  # pixels, as in the clip table
_GLABELLA, _LIP_CORNERS = 9, (61, 291)
_HINT = "use a frontal, sharp, neutral colour photograph of one face"
_HUES = (10.0, 75.0)  # degrees in Lab; skin is well within
_BROWS_TO_EYES = ((107, 133), (336, 362))  # inner end of a brow, inner corner of its eye


@dataclass(frozen=True)
class PortraitLimits:
    """Limits of the measures. Lengths are in pixels, angles in degrees, openings as in `faces.geometry`.

    `max_iris_to_face` separates drawn from filmed faces, since drawn irises are too large for the face. On 36 portraits
    and 14 clips, filmed faces (one of a toddler) were below 0.089; cartoons, anime and sketches of any style were above
    0.095. Realistic paintings pass.
    """

    min_side: float = 120.0
    min_presence: float = 0.8
    max_yaw: float = 20.0
    max_pitch: float = 16.0
    min_sharpness: float = 30.0
    max_mouth_opening: float = 0.20
    max_mouth_width: float = 1.10
    min_eye_opening: float = 0.18
    min_brow_height: float = 0.40
    max_lens_colour: float = 15.0
    max_lens_darkness: float = 25.0
    min_chroma: float = 10.0
    max_chroma: float = 45.0
    min_iris: float = 0.14
    max_iris_to_face: float = 0.094
    colourless: bool = False
    drawn: bool = False


DEFAULT_LIMITS = PortraitLimits()


@dataclass(frozen=True)
class PortraitMeasures:
    """The measures of a portrait.

    Attributes:
        side: side of the squared face box, pixels.
        yaw: degrees.
        pitch: degrees.
        sharpness: Laplacian variance of the face at 128 pixels.
        mouth_opening: distance between the lips, in eye distances.
        mouth_width: in eye distances.
        eye_opening: in eye widths.
        lens_colour: colour difference between the skin under the eyes and the middle of the face, Lab; large behind
            tinted glasses.
        lens_darkness: how much darker the skin under both eyes is than the middle of the face (the smaller value of
            the two eyes), Lab.
        brow_height: distance from inner brow to inner corner of the eye, in eye distances.
        iris: diameter of the iris in eye distances; about 0.15 to 0.19 in people.
        face_length: distance from brows to chin in eye distances; 2 to 2.3 in adults, 1.9 in small children.
        chroma: chroma of the skin, Lab.
        hue: hue of the skin, degrees; 20 to 65 in people.
    """

    side: float
    yaw: float
    pitch: float
    sharpness: float
    mouth_opening: float
    mouth_width: float
    eye_opening: float
    lens_colour: float
    lens_darkness: float
    brow_height: float
    iris: float
    face_length: float
    chroma: float
    hue: float


def measure(image_HWC: np.ndarray, landmarks_NC: np.ndarray, irises: np.ndarray) -> PortraitMeasures:
    """Measure a portrait; `irises` (2, 5, 2) as the analyser returns them."""
    box = geometry.face_box(landmarks_NC)
    yaw, pitch, _ = (float(angle) for angle in geometry.pose(landmarks_NC))
    unit = float(geometry.eye_distance(landmarks_NC))

    def between(one: int, other: int) -> float:
        return float(np.linalg.norm(landmarks_NC[one] - landmarks_NC[other])) / unit

    lens_colour, lens_darkness = colour.under_the_eyes(image_HWC, landmarks_NC)
    across = np.linalg.norm(irises[:, 1:3] - irises[:, 3:5], axis=-1)
    tone = colour.Tone.of(image_HWC, landmarks_NC).median
    return PortraitMeasures(
        side=float(max(box[2:] - box[:2])),
        yaw=yaw,
        pitch=pitch,
        sharpness=sharpness(image_HWC, box),
        mouth_opening=float(geometry.mouth_opening(landmarks_NC)),
        mouth_width=between(*_LIP_CORNERS),
        eye_opening=float(geometry.eye_opening(landmarks_NC)),
        lens_colour=lens_colour,
        lens_darkness=lens_darkness,
        brow_height=float(np.mean([between(*pair) for pair in _BROWS_TO_EYES])),
        iris=float(across.mean()) / unit,
        face_length=between(CHIN, _GLABELLA),
        chroma=float(np.hypot(tone[1], tone[2])),
        hue=float(np.degrees(np.arctan2(tone[2], tone[1]))),
    )


def refuse_unfit(found: PortraitMeasures, limits: PortraitLimits) -> None:
    """Check the measures of a portrait against the limits.

    Raises:
        Refusal: the first check that fails.
    """
    for refusal in _checks(found, limits):
        if refusal is not None:
            raise refusal


def _checks(found: PortraitMeasures, limits: PortraitLimits) -> Iterator[Refusal | None]:
    """All checks in order; each yields a refusal with the measured value, or None if it passes."""

    def low(reason: str, what: str, measure: str, least: float) -> Refusal | None:
        value = getattr(found, measure)
        text = f"{what} {value:.3g}, needed {least:g}"
        return Refusal(reason, text, _HINT, measure, value, least) if value < least else None

    def high(reason: str, what: str, measure: str, most: float) -> Refusal | None:
        value = getattr(found, measure)
        value = abs(value) if measure in ("yaw", "pitch") else value
        text = f"{what} {value:.3g}, allowed {most:g}"
        return Refusal(reason, text, _HINT, measure, value, most) if value > most else None

    yield low("too_small", "side of the face in pixels", "side", limits.min_side)
    yield high("yaw", "yaw in degrees", "yaw", limits.max_yaw)
    yield high("yaw", "pitch in degrees", "pitch", limits.max_pitch)
    yield low("blurred", "sharpness", "sharpness", limits.min_sharpness)
    if not limits.colourless:
        yield low("colourless", "chroma of the skin", "chroma", limits.min_chroma)
    yield low("expression", "opening of the eyes in eye widths", "eye_opening", limits.min_eye_opening)
    yield low("expression", "visible iris in eye distances", "iris", limits.min_iris)
    yield high(
        "expression", "opening of the mouth in eye distances", "mouth_opening", limits.max_mouth_opening
    )
    yield high("expression", "width of the mouth in eye distances", "mouth_width", limits.max_mouth_width)
    yield low("expression", "height of the brows in eye distances", "brow_height", limits.min_brow_height)
    if not limits.drawn and looks_drawn(found, limits):
        yield _drawn(found, limits)
    yield high("covered", "colour of the skin under the eyes, off by", "lens_colour", limits.max_lens_colour)
    yield high("covered", "darkness of the skin under the eyes", "lens_darkness", limits.max_lens_darkness)


def _drawn(found: PortraitMeasures, limits: PortraitLimits) -> Refusal:
    """The refusal of a drawn face, with the first measure outside its limit."""
    message = (
        f"iris {found.iris:.3f} and face length {found.face_length:.2f} eye distances, skin chroma "
        f"{found.chroma:.0f} and hue {found.hue:.0f} degrees are not those of a filmed face"
    )
    largest = limits.max_iris_to_face * found.face_length
    if found.iris > largest:
        return Refusal("drawn_face", message, _HINT, "iris", found.iris, largest)
    if found.chroma > limits.max_chroma:
        return Refusal("drawn_face", message, _HINT, "chroma", found.chroma, limits.max_chroma)
    limit = _HUES[0] if found.hue <= _HUES[0] else _HUES[1]
    return Refusal("drawn_face", message, _HINT, "hue", found.hue, limit)


def looks_drawn(found: PortraitMeasures, limits: PortraitLimits) -> bool:
    """Whether irises or colours of a face look drawn; realistic paintings pass."""
    coloured = found.chroma >= limits.min_chroma
    odd_colour = coloured and (found.chroma > limits.max_chroma or not _HUES[0] < found.hue < _HUES[1])
    return odd_colour or found.iris > limits.max_iris_to_face * found.face_length


def sharpness(image_HWC: np.ndarray, box_xyxy: np.ndarray) -> float:
    """Laplacian variance of the face box at 128 pixels; about 20 blurred, 100 and more sharp."""
    limit = np.array(image_HWC.shape[1::-1])
    x0, y0 = np.clip(box_xyxy[:2], 0, limit - 1).astype(int)
    x1, y1 = np.maximum(np.clip(box_xyxy[2:], 0, limit).astype(int), (x0 + 1, y0 + 1))
    face = cv2.resize(
        image_HWC[y0:y1, x0:x1], (_SHARPNESS_SIDE, _SHARPNESS_SIDE), interpolation=cv2.INTER_AREA
    )
    return float(cv2.Laplacian(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())


def frame_score(landmarks_NC: np.ndarray, image_HWC: np.ndarray) -> float:
    """How suitable a frame is as a donor portrait, 0..1: frontal, neutral, eyes open, sharp.

    Curation keeps the best frame of each clip; `check_portrait` decides whether it is suitable at all.
    """
    if not np.isfinite(landmarks_NC).all():
        return 0.0
    yaw, pitch, _ = geometry.pose(landmarks_NC)
    frontal = np.exp(-((yaw / 15) ** 2) - (pitch / 20) ** 2)
    closed_mouth = np.exp(-((float(geometry.mouth_opening(landmarks_NC)) / 0.12) ** 2))
    open_eyes = np.clip(float(geometry.eye_opening(landmarks_NC)) / 0.28, 0, 1) ** 2
    sharp = np.clip(np.log2(1 + sharpness(image_HWC, geometry.face_box(landmarks_NC))) / 8, 0, 1)
    return float(frontal * closed_mouth * open_eyes * sharp)
