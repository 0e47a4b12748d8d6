"""The Denoising UNet: Stable Diffusion 1.5 on 13 channels, with motion modules and reference attention.

Shape suffixes as in `layers`.
"""

from __future__ import annotations

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.blocks import Context, build_levels
from trainer.model.config import ModelConfig
from trainer.model.driven_encoder import DrivenEncoder
from trainer.model.layers import norm_over_clip
from trainer.model.reference_net import ReferenceFeatures


class Denoiser(nn.Module):
    """Predicts the diffusion target of a clip's latents. Contains the DrivenEncoder, as the published names do."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.norm_over_clip = config.norm_statistics == "clip"
        widths = config.block_out_channels
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.condition_input_layer = DrivenEncoder(config.driven_channels, config.reference_size)
        self.time_proj = Timesteps(widths[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(widths[0], 4 * widths[0])
        self.down_blocks, self.mid_block, self.up_blocks = build_levels(config, motion=True)
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, widths[0], eps=1e-5)
        self.conv_out = nn.Conv2d(widths[0], config.latent_channels, 3, padding=1)
        # All channels but the noisy latent start with zero weights, so that pretrained weights keep their behaviour.
        with torch.no_grad():
            self.conv_in.weight[:, config.latent_channels :] = 0

    def forward(
        self,
        input_BFCHW: Tensor,
        timesteps_B: Tensor,
        tokens_BTD: Tensor,
        reference: ReferenceFeatures | None = None,
        dropped_B: Tensor | None = None,
        motion: bool = True,
        recompute: bool = False,
    ) -> Tensor:
        """The prediction (B F latent_channels H W).

        Args:
            input_BFCHW: noisy latent, reference latent, background mask and driven features, concatenated along C.
            timesteps_B: integer timesteps.
            tokens_BTD: condition tokens of each clip.
            reference: features of the ReferenceNet; without them the model attends to no reference.
            dropped_B: true for samples that ignore the reference features.
            motion: whether the motion modules run; without them frames are independent.
            recompute: activation checkpointing in training: less memory, more time, the same gradients.
        """
        clips, frames = input_BFCHW.shape[:2]
        time_BE = self.time_embedding(self.time_proj(timesteps_B).to(input_BFCHW.dtype))
        norm_frames = frames if self.norm_over_clip else 1
        context = Context(time_BE, tokens_BTD, frames, norm_frames, motion, dropped_B, recompute)

        x = self.conv_in(input_BFCHW.flatten(0, 1))
        skips = [x]
        for down in self.down_blocks:
            x, new_skips = down(x, context)
            skips += new_skips
        x, _ = self.mid_block(x, context, reference.mid_BLC if reference else None)
        for index, up in enumerate(self.up_blocks):
            x, _ = up(x, skips, context, reference.up[index] if reference else ())
        x = F.silu(norm_over_clip(self.conv_norm_out, x, norm_frames))
        return self.conv_out(x).unflatten(0, (clips, frames))
