"""Classic picture filters that keep a face's expression and do not flicker, and the backend that applies them.

Each filter takes and returns one (H, W, 3) uint8 RGB frame. None has a hard threshold: where the input changes a
little, a soft step changes a little too, so video does not flicker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np

from datagen.common.errors import UserError
from datagen.faces import Faces, ModelInfo
from datagen.synthesise.stylise.style import Style


def _luma(rgb_HWC: np.ndarray) -> np.ndarray:
    """(H, W) float32 0..1."""
    return cv2.cvtColor(rgb_HWC, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255


def _bytes(image: np.ndarray) -> np.ndarray:
    """Float 0..1 to uint8, rounded."""
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _smooth(rgb_HWC: np.ndarray, colour_sigma: float, rounds: int) -> np.ndarray:
    """Flat areas with edges kept: a bilateral filter at half size, several times."""
    height, width = rgb_HWC.shape[:2]
    small = cv2.resize(rgb_HWC, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    for _ in range(rounds):
        small = cv2.bilateralFilter(small, 5, colour_sigma, 3)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _lines(rgb_HWC: np.ndarray, sigma: float, strength: float) -> np.ndarray:
    """Ink lines (H, W) float32, 1 paper and 0 ink: a difference of Gaussians through a soft step (XDoG)."""
    luma = _luma(rgb_HWC)
    fine, coarse = cv2.GaussianBlur(luma, (0, 0), sigma), cv2.GaussianBlur(luma, (0, 0), 1.6 * sigma)
    return 1 + np.tanh(np.minimum(strength * (fine - 0.98 * coarse - 0.002), 0))


def _steps(value: np.ndarray, count: int, softness: float) -> np.ndarray:
    """Quantise 0..1 into `count` levels with soft steps between them."""
    scaled = value * count
    whole = np.floor(scaled)
    return (whole + 0.5 + 0.5 * np.tanh((scaled - whole - 0.5) / softness) / np.tanh(0.5 / softness)) / count


def _with_luma(rgb_HWC: np.ndarray, luma: np.ndarray) -> np.ndarray:
    """The picture with another luma (H, W) float32 0..1."""
    ycc = cv2.cvtColor(rgb_HWC, cv2.COLOR_RGB2YCrCb)
    ycc[..., 0] = _bytes(luma)
    return cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB)


def _saturated(rgb_HWC: np.ndarray, factor: float) -> np.ndarray:
    """Colours moved away from (or towards) grey."""
    grey = cv2.cvtColor(cv2.cvtColor(rgb_HWC, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(rgb_HWC, factor, grey, 1 - factor, 0)


def cartoon(rgb_HWC: np.ndarray) -> np.ndarray:
    """Flat, strong colours in soft steps with dark outlines."""
    flat = _saturated(_smooth(rgb_HWC, 30, 3), 1.35)
    stepped = _with_luma(flat, _steps(_luma(flat), 7, 0.22))
    return cv2.multiply(stepped, cv2.merge([_lines(rgb_HWC, 1.0, 22)] * 3), dtype=cv2.CV_8U)


def watercolour(rgb_HWC: np.ndarray) -> np.ndarray:
    """Washed flat colours on light paper, pale edges."""
    flat = _smooth(rgb_HWC, 45, 3)
    washed = cv2.addWeighted(_saturated(flat, 1.2), 0.82, np.full_like(flat, 255), 0.18, 0)
    return cv2.multiply(washed, cv2.merge([0.35 + 0.65 * _lines(rgb_HWC, 1.4, 14)] * 3), dtype=cv2.CV_8U)


def pencil(rgb_HWC: np.ndarray) -> np.ndarray:
    """Graphite on paper: luma divided by its surroundings, with some shading left."""
    luma = cv2.GaussianBlur(_luma(_smooth(rgb_HWC, 20, 1)), (0, 0), 0.8)
    drawing = np.minimum(1.02 * luma / (cv2.GaussianBlur(luma, (0, 0), 6) + 0.03), 1) ** 1.7
    shaded = drawing * (0.55 + 0.45 * np.sqrt(luma))
    return cv2.cvtColor(_bytes(shaded), cv2.COLOR_GRAY2RGB)


def coloured_pencil(rgb_HWC: np.ndarray) -> np.ndarray:
    """Coloured strokes of light pressure on white paper."""
    luma = cv2.GaussianBlur(_luma(_smooth(rgb_HWC, 20, 1)), (0, 0), 0.6)
    drawing = np.minimum(1.02 * luma / (cv2.GaussianBlur(luma, (0, 0), 5) + 0.03), 1) ** 1.5
    pale = cv2.addWeighted(_saturated(rgb_HWC, 1.3), 0.75, np.full_like(rgb_HWC, 255), 0.25, 0)
    return cv2.multiply(pale, cv2.merge([0.25 + 0.75 * drawing] * 3), dtype=cv2.CV_8U)


def ink(rgb_HWC: np.ndarray) -> np.ndarray:
    """Black ink and two washes of grey."""
    luma = cv2.GaussianBlur(_luma(_smooth(rgb_HWC, 30, 2)), (0, 0), 1)
    washes = 0.25 + 0.75 * _steps(np.sqrt(luma), 3, 0.18)
    return cv2.cvtColor(_bytes(washes * _lines(rgb_HWC, 1.4, 24)), cv2.COLOR_GRAY2RGB)


def poster(rgb_HWC: np.ndarray) -> np.ndarray:
    """Few, strong colours, each channel in soft steps."""
    flat = _saturated(_smooth(rgb_HWC, 35, 2), 1.5)
    return _bytes(_steps(flat.astype(np.float32) / 255, 5, 0.25))


def comic(rgb_HWC: np.ndarray) -> np.ndarray:
    """Saturated print colours with heavy black lines."""
    flat = _saturated(_smooth(rgb_HWC, 40, 3), 1.7)
    bright = _with_luma(flat, _steps(np.clip(_luma(flat) * 1.15, 0, 1), 5, 0.2))
    return cv2.multiply(bright, cv2.merge([_lines(rgb_HWC, 1.5, 40)] * 3), dtype=cv2.CV_8U)


def pastel(rgb_HWC: np.ndarray) -> np.ndarray:
    """Light, chalky colours of low contrast."""
    soft = cv2.GaussianBlur(_smooth(rgb_HWC, 25, 2), (0, 0), 1.2)
    return cv2.addWeighted(_saturated(soft, 0.9), 0.6, np.full_like(soft, 235), 0.4, 0)


def glow(rgb_HWC: np.ndarray) -> np.ndarray:
    """Soft light: the picture screened with its own wide blur."""
    height, width = rgb_HWC.shape[:2]
    small = cv2.resize(rgb_HWC, (max(1, width // 4), max(1, height // 4)), interpolation=cv2.INTER_AREA)
    halo = cv2.resize(cv2.GaussianBlur(small, (0, 0), 4), (width, height)).astype(np.float32) / 255
    return _bytes(1 - (1 - rgb_HWC.astype(np.float32) / 255 * 0.9) * (1 - 0.55 * halo**1.5))


def sepia(rgb_HWC: np.ndarray) -> np.ndarray:
    """Brown print of an old photograph."""
    tone = np.array([1.0, 0.84, 0.62], np.float32)
    return _bytes((0.08 + 0.92 * _luma(rgb_HWC)[..., None] ** 0.9) * tone)


def duotone(rgb_HWC: np.ndarray) -> np.ndarray:
    """Shadows in blue, lights in warm yellow."""
    luma = _luma(rgb_HWC)[..., None]
    dark, light = np.array([0.10, 0.08, 0.40], np.float32), np.array([1.0, 0.90, 0.62], np.float32)
    return _bytes((1 - luma) * dark + luma * light)


def night(rgb_HWC: np.ndarray) -> np.ndarray:
    """Cold, dark light of a night scene."""
    cold = _saturated(rgb_HWC, 0.55).astype(np.float32) / 255
    return _bytes(cold**1.3 * np.array([0.62, 0.78, 1.05], np.float32))


_ALL = (
    cartoon,
    coloured_pencil,
    comic,
    duotone,
    glow,
    ink,
    night,
    pastel,
    pencil,
    poster,
    sepia,
    watercolour,
)

FILTERS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {each.__name__: each for each in _ALL}
)
"""Every filter by the name recipes use."""


class ClassicFilter:
    """Picture filters by name, see `FILTERS`."""

    name = "filter"
    models: tuple[ModelInfo, ...] = ()

    def __call__(self, frames_FHWC: np.ndarray, faces: Faces, style: Style, seed: int = 0) -> np.ndarray:
        """Filtered frames (F, H, W, 3) uint8; `faces` and `seed` are not used.

        Raises:
            UserError: there is no filter of the style's name.
        """
        if style.name not in FILTERS:
            raise UserError(f"unknown filter {style.name!r}; choose from {', '.join(FILTERS)}", code=2)
        result = np.empty_like(frames_FHWC)
        for source, target in zip(frames_FHWC, result, strict=True):
            target[...] = FILTERS[style.name](source)
        return result
