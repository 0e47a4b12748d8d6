"""The image CLIP sees: the reference's background, resized and cropped as CLIP's own preprocessing does, in uint8.

Loader workers make it, so that the resize does not hold up training; they need none of the model's packages.
`trainer.latents.encoders` normalises it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image


def background_of(mask_HW: np.ndarray) -> np.ndarray:
    """(H, W) uint8, 1 on background, of a foreground mask."""
    return (mask_HW < 128).astype(np.uint8)


def clip_image(reference_HW3: np.ndarray, background_HW: np.ndarray, size: int) -> np.ndarray:
    """(size, size, 3) uint8: the person black, bicubic to a short side of `size` (Pillow), centre crop."""
    image = Image.fromarray(reference_HW3 * background_HW[..., None])
    short = min(image.size)
    image = image.resize(
        (int(size * image.width / short), int(size * image.height / short)), Image.Resampling.BICUBIC
    )
    top, left = (image.height - size) // 2, (image.width - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))
