"""Donor skin adapted to the target: tone and sharpness once per clip, shading per frame.

Shapes: `F` frames, `H` height, `W` width, `C` channels or coordinates, `N` landmarks. Pictures are RGB uint8; Lab is
OpenCV's for floats (L 0..100).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from datagen.imaging import regions
from datagen.imaging.alignment import size_of

_SHRINK = 4  # shading has no fine detail, so it is computed on a picture smaller by this factor
_SHADING_REACH = 0.13  # standard deviation of the shading's blur, as a share of the face's size
# Differences in Lab from the middle of the face; between the two numbers the weight of a pixel falls from 1 to 0.
_DARKER = (18.0, 32.0)  # hair
_LIGHTER = (26.0, 38.0)  # background or white hair
_OTHER_COLOUR = (22.0, 34.0)  # background
_BEARD = 14.0  # added to the limits of `_DARKER` below the mouth
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_MAX_TINT = 1.08  # largest change of one channel against the luma by shading; more would show as stains
_BLURS = (0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5)  # standard deviations in pixels


@dataclass(frozen=True)
class Tone:
    """Colour of skin in Lab: median and spread (scaled median absolute deviation), each (3,)."""

    median: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, image_HWC: np.ndarray, landmarks_NC: np.ndarray, where: np.ndarray | None = None) -> Tone:
        """Tone of a face's skin; with `where` (H, W), only of the pixels where it is above 0."""
        inside = regions.skin(landmarks_NC, image_HWC.shape[:2]) > 0
        if where is not None:
            inside &= where > 0
        pixels = _lab(image_HWC)[inside]
        if len(pixels) == 0:
            return cls(np.array([60.0, 10.0, 15.0]), np.ones(3))
        median = np.median(pixels, axis=0)
        return cls(median, 1.4826 * np.median(np.abs(pixels - median), axis=0) + 0.5)


def mean_tone(frames: list[np.ndarray], landmarks_FNC: np.ndarray) -> Tone:
    """Mean tone of a face over some frames: one tone for the whole clip, so that it cannot flicker."""
    tones = [Tone.of(frame, face) for frame, face in zip(frames, landmarks_FNC, strict=True)]
    return Tone(
        np.mean([tone.median for tone in tones], axis=0), np.mean([tone.spread for tone in tones], axis=0)
    )


def with_tone(image_HWC: np.ndarray, landmarks_NC: np.ndarray, tone: Tone) -> np.ndarray:
    """The picture, shifted and scaled in Lab so that the face's skin gets the tone; contrast rises by 20 % at most."""
    own = Tone.of(image_HWC, landmarks_NC)
    gain = np.clip(tone.spread / own.spread, 0.7, [1.1, 1.2, 1.2])
    lab = (_lab(image_HWC) - own.median) * gain + tone.median
    return _rgb(lab.astype(np.float32))


def with_sharpness(
    image_HWC: np.ndarray, landmarks_NC: np.ndarray, frames: list[np.ndarray], landmarks_FNC: np.ndarray
) -> np.ndarray:
    """The picture, blurred until its skin is about as sharp as the frames'; the faces must have the same size."""
    wanted = float(np.median([_detail(f, face) for f, face in zip(frames, landmarks_FNC, strict=True)]))
    result = image_HWC
    for sigma in _BLURS:
        if _detail(result, landmarks_NC) <= 1.2 * wanted:
            break
        result = cv2.GaussianBlur(image_HWC, (0, 0), sigma)
    return result


def shrunk(image_HWC: np.ndarray, landmarks_NC: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its landmarks scaled down, anti-aliased; unchanged where `scale` is 0.95 or more."""
    if scale >= 0.95:
        return image_HWC, landmarks_NC.astype(np.float32)
    image = cv2.resize(image_HWC, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    gain = np.array([image.shape[1] / image_HWC.shape[1], image.shape[0] / image_HWC.shape[0], scale])
    half = np.array([0.5, 0.5, 0])
    return image, ((landmarks_NC + half) * gain - half).astype(np.float32)


def usable_skin(image_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray:
    """Weight of each donor pixel, (H, W) uint8: 0 on hair that covers the face and on background, 255 on skin.

    Brows, eyes, nose and mouth are always used. Around them, a pixel much darker than the middle of the face counts as
    hair; one that is much lighter, or far from the skin's colour, counts as background. Below the mouth a pixel may be
    darker, because of beards.
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
    """Difference in Lab between the skin just below the eyes and the middle of the face: in colour, and in darkness.

    The colour difference is the mean of both eyes, the darkness the smaller of the two, so that a shadow on only one
    side does not count.
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
    """(H, W) bool: pixels below the corners of the mouth, along the axis of the face."""
    mouth = landmarks_NC[[61, 291], :2].mean(axis=0)
    down = landmarks_NC[152, :2] - landmarks_NC[9, :2]
    rows, columns = np.indices(shape, sparse=True)
    return (columns - mouth[0]) * down[0] + (rows - mouth[1]) * down[1] > 0


def _step(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Smooth step from 0 at the first limit to 1 at the second; float32."""
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
    """Donor skin with the target's shading: each channel is multiplied by the ratio of the two blurred pictures.

    Args:
        skin_HWC: the warped donor.
        usable_HW: weights of the donor's pixels, see `usable_skin`, warped in the same way.
        target_HWC: the target's frame, of the same shape.
        landmarks_NC: landmarks of the face in both.
        size: size of the face in pixels.
        strength: 0 keeps the donor's luma shading, 1 takes the target's.
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
    tint = np.clip(ratio / light[..., None], 1 / _MAX_TINT, _MAX_TINT)
    gain = cv2.resize(np.clip(light, 0.5, 2.0)[..., None] ** np.float32(strength) * tint, (width, height))
    return cv2.multiply(skin_HWC, gain, dtype=cv2.CV_8U)


def _detail(image_HWC: np.ndarray, landmarks_NC: np.ndarray) -> float:
    """Mean absolute Laplacian of the skin's luma; 0 where no skin is visible."""
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
