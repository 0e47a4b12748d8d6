"""Donor skin in the target's light: tone and sharpness once per clip, shading per frame.

Shapes: `H` height, `W` width, `C` channels or coordinates, `N` landmarks. Pictures are RGB uint8; Lab is OpenCV's
for floats (L 0..100).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from datagen.imaging import regions
from datagen.imaging.alignment import size_of

_SHRINK = 4  # shading is found on a picture this much smaller: it has no detail to lose
_SHADING_REACH = 0.13  # standard deviation of the shading's blur, as a share of the face's size
_DARKER = (18.0, 32.0)  # how much darker (Lab) than the middle of the face hair begins, and surely is hair
_LIGHTER = (26.0, 38.0)  # how much lighter background or white hair begins, and surely is
_BEARD = 14.0  # how much darker still it must be below the mouth
_OTHER_COLOUR = (22.0, 34.0)  # difference in colour (Lab) where background begins, and surely is background
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_MOST_TINT = 1.08  # local light may change a channel against the others by this much; more shows as stains
_BLURS = (0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5)  # pixels


@dataclass(frozen=True)
class Tone:
    """Colour of skin: median and spread in Lab, each (3,)."""

    median: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, image_HWC: np.ndarray, landmarks_NC: np.ndarray, where: np.ndarray | None = None) -> Tone:
        """Tone of one face's skin, or of the part of it where `where` (H, W) is above 0."""
        inside = regions.skin(landmarks_NC, image_HWC.shape[:2]) > 0
        if where is not None:
            inside &= where > 0
        pixels = _lab(image_HWC)[inside]
        if len(pixels) == 0:
            return cls(np.array([60.0, 10.0, 15.0]), np.ones(3))
        median = np.median(pixels, axis=0)
        return cls(median, 1.4826 * np.median(np.abs(pixels - median), axis=0) + 0.5)


def mean_tone(frames: list[np.ndarray], landmarks_FNC: np.ndarray) -> Tone:
    """Mean tone of a face over some frames: one for the whole clip, so that it cannot flicker."""
    tones = [Tone.of(frame, face) for frame, face in zip(frames, landmarks_FNC, strict=True)]
    return Tone(
        np.mean([tone.median for tone in tones], axis=0), np.mean([tone.spread for tone in tones], axis=0)
    )


def with_tone(image_HWC: np.ndarray, landmarks_NC: np.ndarray, tone: Tone) -> np.ndarray:
    """The picture with its face's skin brought to `tone`; contrast is lowered where needed but hardly raised."""
    own = Tone.of(image_HWC, landmarks_NC)
    gain = np.clip(tone.spread / own.spread, 0.7, [1.1, 1.2, 1.2])
    lab = (_lab(image_HWC) - own.median) * gain + tone.median
    return _rgb(lab.astype(np.float32))


def with_sharpness(
    image_HWC: np.ndarray, landmarks_NC: np.ndarray, frames: list[np.ndarray], landmarks_FNC: np.ndarray
) -> np.ndarray:
    """The picture, blurred if its skin is sharper than the frames'; both must show the face at the same size."""
    wanted = float(np.median([_detail(f, face) for f, face in zip(frames, landmarks_FNC, strict=True)]))
    result = image_HWC
    for sigma in _BLURS:
        if _detail(result, landmarks_NC) <= 1.2 * wanted:
            break
        result = cv2.GaussianBlur(image_HWC, (0, 0), sigma)
    return result


def shrunk(image_HWC: np.ndarray, landmarks_NC: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its landmarks made smaller without aliasing; left as they are when `scale` is about 1 or more."""
    if scale >= 0.95:
        return image_HWC, landmarks_NC.astype(np.float32)
    image = cv2.resize(image_HWC, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    gain = np.array([image.shape[1] / image_HWC.shape[1], image.shape[0] / image_HWC.shape[0], scale])
    half = np.array([0.5, 0.5, 0])
    return image, ((landmarks_NC + half) * gain - half).astype(np.float32)


def usable_skin(image_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray:
    """How far each donor pixel may be used, (H, W) uint8: 0 on hair over the face and on background beside it.

    Brows, eyes, nose and mouth are always used. Around them a pixel counts as hair when it is much darker than the
    middle of the face, as background when it is much lighter or its colour is far from the skin's; below the mouth
    it may be darker, as beards are.
    """
    size, shape = size_of(landmarks_NC), image_HWC.shape[:2]
    middle = regions.fill(regions.inner_face(landmarks_NC), shape)
    tone = Tone.of(image_HWC, landmarks_NC, middle)
    lab = _lab(cv2.GaussianBlur(image_HWC, (0, 0), max(0.5, 0.006 * size)))
    darker = tone.median[0] - lab[..., 0]
    other = np.linalg.norm((lab - tone.median)[..., 1:], axis=2)
    hair = _step(darker - _BEARD * _below_mouth(landmarks_NC, shape), _DARKER)
    foreign = np.maximum(np.maximum(hair, _step(-darker, _LIGHTER)), _step(other, _OTHER_COLOUR))
    foreign[middle > 0] = 0
    width = max(1, int(0.02 * size))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    foreign = cv2.dilate(cv2.morphologyEx(foreign, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), disc)
    return _bytes(1 - cv2.GaussianBlur(foreign, (0, 0), width))


def under_the_eyes(image_HWC: np.ndarray, landmarks_NC: np.ndarray) -> tuple[float, float]:
    """How the skin right below the eyes differs from the middle of the face: in colour, and in darkness (Lab).

    The colour is the mean of both eyes, the darkness the smaller of the two, so that a shadow on one side is none.
    """
    shape = image_HWC.shape[:2]
    usual = Tone.of(image_HWC, landmarks_NC, regions.fill(regions.inner_face(landmarks_NC), shape)).median
    lab = _lab(image_HWC)
    differences = []
    for outline in regions.UNDER_EYES:
        inside = cv2.erode(regions.fill([landmarks_NC[outline, :2]], shape), np.ones((3, 3), np.uint8)) > 0
        differences.append(np.median(lab[inside], axis=0) - usual if inside.any() else np.zeros(3))
    lightness, *colours = np.transpose(differences)
    return float(np.hypot(*colours).mean()), float(-lightness.max())


def _below_mouth(landmarks_NC: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels (H, W) bool on the chin's side of the line through the corners of the mouth."""
    mouth = landmarks_NC[[61, 291], :2].mean(axis=0)
    down = landmarks_NC[152, :2] - landmarks_NC[9, :2]
    rows, columns = np.indices(shape, sparse=True)
    return (columns - mouth[0]) * down[0] + (rows - mouth[1]) * down[1] > 0


def _step(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """0 below the first limit, 1 above the second, smooth between; float32."""
    share = np.clip((values - limits[0]) / (limits[1] - limits[0]), 0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)


def relit(
    skin_HWC: np.ndarray,
    usable_HW: np.ndarray,
    target_HWC: np.ndarray,
    landmarks_NC: np.ndarray,
    size: float,
    strength: float,
) -> np.ndarray:
    """Donor skin under the target's shading: each channel multiplied by a smooth ratio of the two pictures.

    Args:
        skin_HWC: warped donor.
        usable_HW: uint8, 0 where it is hair or background.
        target_HWC: the frame it goes onto, same shape.
        landmarks_NC: of the face in both.
        size: of the face, pixels.
        strength: 0 leaves the donor's light, 1 takes the target's.
    """
    height, width = skin_HWC.shape[:2]
    small = (max(1, width // _SHRINK), max(1, height // _SHRINK))
    usable = np.sqrt(cv2.resize(usable_HW, small, interpolation=cv2.INTER_AREA).astype(np.float32))
    weight = (regions.skin(landmarks_NC, small[::-1], _SHRINK) * usable)[..., None] / 255**1.5

    def shading(image: np.ndarray) -> np.ndarray:
        reduced = cv2.resize(image, small, interpolation=cv2.INTER_AREA).astype(np.float32)
        return cv2.GaussianBlur(reduced * weight, (0, 0), _SHADING_REACH * size / _SHRINK)

    ratio = (shading(target_HWC) + 1e-3) / (shading(skin_HWC) + 1e-3)
    light = ratio @ _LUMA
    tint = np.clip(ratio / light[..., None], 1 / _MOST_TINT, _MOST_TINT)
    gain = cv2.resize(np.clip(light, 0.5, 2.0)[..., None] ** np.float32(strength) * tint, (width, height))
    return cv2.multiply(skin_HWC, gain, dtype=cv2.CV_8U)


def _detail(image_HWC: np.ndarray, landmarks_NC: np.ndarray) -> float:
    """Mean absolute second derivative of the skin's luma."""
    grey = cv2.cvtColor(image_HWC, cv2.COLOR_RGB2GRAY)
    inside = regions.skin(landmarks_NC, grey.shape) > 0
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F))[inside].mean()) if inside.any() else 0.0


def _lab(image_HWC: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image_HWC.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def _rgb(lab_HWC: np.ndarray) -> np.ndarray:
    return _bytes(cv2.cvtColor(lab_HWC, cv2.COLOR_LAB2RGB))


def _bytes(values: np.ndarray) -> np.ndarray:
    """0..1 to uint8, rounded."""
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
