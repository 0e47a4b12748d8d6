"""MediaPipe's selfie segmentation: the probability that each pixel belongs to a person."""

from __future__ import annotations

import cv2
import numpy as np

from datagen.faces.mediapipe.shipped import open_shipped
from datagen.weights.onnx import run


class SelfieSegmentation:
    """Foreground probabilities of a frame."""

    def __init__(self) -> None:
        self._session = open_shipped("selfie")
        self._side: int = self._session.get_inputs()[0].shape[1]

    def __call__(self, rgb_HWC: np.ndarray) -> np.ndarray:
        """Probability (H, W) float32 0..1 that a pixel belongs to a person."""
        height, width = rgb_HWC.shape[:2]
        smaller = min(height, width) > self._side
        small = cv2.resize(
            rgb_HWC, (self._side, self._side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        )
        (mask,) = run(self._session, small.astype(np.float32) / 255)
        return cv2.resize(mask[..., 0], (width, height), interpolation=cv2.INTER_LINEAR).clip(0, 1)
