"""ReferenceNet: features of the reference image for the self-attention of the denoiser.

Shape suffixes as in `layers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn

from trainer.model.blocks import Context, UpBlock, build_levels
from trainer.model.config import ModelConfig
from trainer.model.layers import SpatialTransformer


@dataclass(frozen=True)
class ReferenceFeatures:
    """Tokens (B L C) after the first norm of each transformer block of the middle and the decoder.

    `up` has one tuple for each decoder level, empty where the level has no attention.
    """

    mid_BLC: Tensor
    up: tuple[tuple[Tensor, ...], ...]

    def map(self, function: Callable[[Tensor], Tensor]) -> ReferenceFeatures:
        """The features with `function` applied to each tensor."""
        up = tuple(tuple(function(feature) for feature in level) for level in self.up)
        return ReferenceFeatures(function(self.mid_BLC), up)

    def named(self) -> dict[str, Tensor]:
        """The features by name of their transformer block, in the published order."""
        named = {"mid_block.attentions.0.transformer_blocks.0": self.mid_BLC}
        for level, features in enumerate(self.up):
            for layer, feature in enumerate(features):
                named[f"up_blocks.{level}.attentions.{layer}.transformer_blocks.0"] = feature
        return named


class _TruncatedTransformer(SpatialTransformer):
    """The last transformer, without anything after its first norm: only that norm's output is used."""

    def __init__(self, channels: int, heads: int, token_width: int, groups: int):
        super().__init__(channels, heads, token_width, groups)
        for name in ("attn1", "attn2", "norm2", "norm3", "ff"):
            delattr(self.transformer_blocks[0], name)
        del self.proj_out

    def forward(  # type: ignore[override]
        self, x_NCHW: Tensor, tokens_BTD: Tensor, reference_BLC: None = None, dropped_B: None = None
    ) -> tuple[Tensor, Tensor]:
        """The unchanged images, and the feature."""
        return x_NCHW, self.transformer_blocks[0].get_submodule("norm1")(self.embed(x_NCHW))


class ReferenceNet(nn.Module):
    """A Stable Diffusion UNet for single images, without the layers after the last feature."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        widths = config.block_out_channels
        time_channels = 4 * widths[0]
        self.time_proj = Timesteps(widths[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(widths[0], time_channels)
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.down_blocks, self.mid_block, self.up_blocks = build_levels(config, motion=False)
        last = _TruncatedTransformer(
            widths[0], config.attention_heads, config.cross_attention_dim, config.norm_num_groups
        )
        self.last_level.attentions[-1] = last

    @property
    def last_level(self) -> UpBlock:
        """The decoder level with the largest picture."""
        level = self.up_blocks[-1]
        assert isinstance(level, UpBlock)
        return level

    def forward(
        self, latents_BCHW: Tensor, timesteps_B: Tensor, tokens_BTD: Tensor, recompute: bool = False
    ) -> ReferenceFeatures:
        """Features of reference latents (the posterior mean, scaled)."""
        time_BE = self.time_embedding(self.time_proj(timesteps_B).to(latents_BCHW.dtype))
        context = Context(time_BE, tokens_BTD, recompute=recompute)
        x = self.conv_in(latents_BCHW)
        skips = [x]
        for down in self.down_blocks:
            x, new_skips = down(x, context)
            skips += new_skips
        x, mid = self.mid_block(x, context)
        up = []
        for level in self.up_blocks:
            x, features = level(x, skips, context)
            up.append(tuple(features))
        return ReferenceFeatures(mid, tuple(up))


def half_rounded(features: ReferenceFeatures) -> ReferenceFeatures:
    """Features rounded to float16 and back, as in the published code."""
    return features.map(lambda feature: feature.to(torch.float16).to(feature.dtype))
