"""ImageEncoder: CLIP's vision tower on the background of the reference, every token projected.

The tokens take the place of the text embedding of Stable Diffusion in both UNets.
"""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from trainer.model.config import ImageEncoderConfig


class ImageEncoder(CLIPVisionModelWithProjection):
    """The CLIP vision model of transformers, giving all tokens instead of the class token alone."""

    def __init__(self, config: ImageEncoderConfig | CLIPVisionConfig):
        if isinstance(config, ImageEncoderConfig):
            config = CLIPVisionConfig(**asdict(config))
        super().__init__(config)

    @torch.no_grad()
    def tokens(self, pixels_B3HW: Tensor) -> Tensor:
        """Condition tokens (B T D) of images at CLIP's size and normalisation. The tower is frozen: no gradients."""
        hidden = self.vision_model(pixels_B3HW).last_hidden_state
        return self.visual_projection(self.vision_model.post_layernorm(hidden))


def freeze(module: nn.Module) -> nn.Module:
    """`module` in evaluation mode, taking no gradients."""
    return module.requires_grad_(False).eval()
