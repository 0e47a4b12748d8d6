"""Give a clip the colours of a portrait: the face those of the portrait's face, the rest those of its rest.

Shapes: `H` height, `W` width, `C` channels or coordinates, `N` landmarks. Lab is OpenCV's, for float32 pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from datagen.imaging import regions
from datagen.imaging.alignment import size_of

_FACE_SHARE = 0.36  # diameter of the face in a portrait crop, as a share of its shorter side
_GAINS = (0.6, 1.6)  # bounds of the change in contrast
_STATISTICS_SIDE = 128  # pixels to which pictures are reduced for their statistics
_STEP = 4  # pixels between nodes of the face's mask


@dataclass(frozen=True)
class Palette:
    """For each region a gain and a shift in Lab that change its mean and spread to another's (Reinhard et al. 2001).

    Attributes:
        gain: (2, 3), for the face and for the rest.
        shift: (2, 3), for the face and for the rest.
    """

    gain: np.ndarray
    shift: np.ndarray

    @classmethod
    def between(
        cls, frame_HWC: np.ndarray, landmarks_NC: np.ndarray | None, portrait_HWC: np.ndarray, strength: float
    ) -> Palette:
        """The change for a whole clip, taken from one of its frames; `strength` 0..1 is how far it goes."""
        gains, shifts = [], []
        face = _face(frame_HWC.shape[:2], landmarks_NC)
        portrait_face = _middle(portrait_HWC.shape[:2])
        for weight, portrait_weight in ((face, portrait_face), (1 - face, 1 - portrait_face)):
            own_mean, own_spread = _statistics(frame_HWC, weight)
            mean, spread = _statistics(portrait_HWC, portrait_weight)
            gain = np.clip(spread / own_spread, *_GAINS) ** strength
            gains.append(gain)
            shifts.append(own_mean + strength * (mean - own_mean) - gain * own_mean)
        return cls(np.array(gains, np.float32), np.array(shifts, np.float32))

    def __call__(self, frame_HWC: np.ndarray, landmarks_NC: np.ndarray | None) -> np.ndarray:
        """Recoloured frame, uint8."""
        face = _face(frame_HWC.shape[:2], landmarks_NC)[..., None]
        lab = cv2.cvtColor(frame_HWC.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        gain = face * self.gain[0] + (1 - face) * self.gain[1]
        shift = face * self.shift[0] + (1 - face) * self.shift[1]
        rgb = cv2.cvtColor(lab * gain + shift, cv2.COLOR_LAB2RGB)
        return (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)


def _face(shape: tuple[int, int], landmarks_NC: np.ndarray | None) -> np.ndarray:
    """Soft mask (H, W) float32 of the face; the middle of the picture where there are no landmarks."""
    if landmarks_NC is None:
        return _middle(shape)
    grid = (-(-shape[0] // _STEP), -(-shape[1] // _STEP))
    mask = regions.fill([regions.hull(landmarks_NC[:, :2])], grid, _STEP).astype(np.float32) / 255
    soft = cv2.GaussianBlur(mask, (0, 0), 0.06 * size_of(landmarks_NC) / _STEP)
    return cv2.resize(soft, shape[::-1], interpolation=cv2.INTER_LINEAR)


def _middle(shape: tuple[int, int]) -> np.ndarray:
    """Soft disc (H, W) float32 where a portrait crop shows the face."""
    height, width = shape
    rows, columns = np.indices(shape, np.float32)
    reach = _FACE_SHARE / 2 * min(shape)
    distance = np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2)
    return np.clip(1.5 - distance / reach, 0, 1).astype(np.float32)


def _statistics(rgb_HWC: np.ndarray, weight_HW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation plus 1, each (3,), in Lab."""
    size = (_STATISTICS_SIDE, _STATISTICS_SIDE)
    small = cv2.resize(rgb_HWC, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float64)
    share = cv2.resize(weight_HW.astype(np.float32), size, interpolation=cv2.INTER_AREA).reshape(-1, 1)
    weight = share / max(float(share.sum()), 1e-6)
    mean = (weight * lab).sum(axis=0)
    return mean, np.sqrt((weight * np.square(lab - mean)).sum(axis=0)) + 1
