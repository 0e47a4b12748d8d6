"""ImageEncoder: CLIP's vision tower, applied to the background of the reference; all tokens are projected.

In both UNets the tokens replace the text embedding of Stable Diffusion.
"""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from trainer.model.config import ImageEncoderConfig


class ImageEncoder(CLIPVisionModelWithProjection):
    """The CLIP vision model of transformers, with all tokens as output instead of the class token only."""

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
    """`module` in evaluation mode and without gradients."""
    return module.requires_grad_(False).eval()
