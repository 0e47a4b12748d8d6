"""ImageEncoder: CLIP's vision tower on the background of the reference, every token projected.

The tokens take the place of the text embedding of Stable Diffusion in both UNets.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from trainer.model.config import ImageEncoderConfig

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


class ImageEncoder(CLIPVisionModelWithProjection):
    """The CLIP vision model of transformers, giving all tokens instead of the class token alone."""

    def __init__(self, config: ImageEncoderConfig | CLIPVisionConfig):
        if isinstance(config, ImageEncoderConfig):
            config = CLIPVisionConfig(**asdict(config))
        super().__init__(config)

    @torch.no_grad()
    def tokens(self, pixels_B3HW: Tensor) -> Tensor:
        """Condition tokens (B T D) of pixels from `clip_pixels`; the tower is frozen."""
        hidden = self.vision_model(pixels_B3HW).last_hidden_state
        return self.visual_projection(self.vision_model.post_layernorm(hidden))


def clip_pixels(images_BHW3: np.ndarray, size: int = 224) -> Tensor:
    """CLIP's own preprocessing of uint8 RGB images: bicubic to a short side of `size`, centre crop, normalise.

    Pillow's resize is what the tower was trained with; others differ visibly.
    """
    mean, std = (np.asarray(v, np.float32) for v in (_MEAN, _STD))
    pixels = []
    for image in images_BHW3:
        height, width = image.shape[:2]
        short = min(height, width)
        shape = (int(size * width / short), int(size * height / short))
        resized = np.asarray(Image.fromarray(image).resize(shape, Image.Resampling.BICUBIC))
        top, left = (resized.shape[0] - size) // 2, (resized.shape[1] - size) // 2
        crop = resized[top : top + size, left : left + size]
        pixels.append((crop.astype(np.float32) / 255 - mean) / std)
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()


def background_only(images_BHW3: np.ndarray, foreground_BHW: np.ndarray) -> np.ndarray:
    """The images with the person painted black: what the tower shall see. `foreground_BHW` is true on the person."""
    return np.where(foreground_BHW[..., None], np.uint8(0), images_BHW3)


def freeze(module: nn.Module) -> nn.Module:
    """`module` in evaluation mode, taking no gradients."""
    return module.requires_grad_(False).eval()
