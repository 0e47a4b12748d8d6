"""Layers of both UNets.

Shape suffixes of names: B clips, F frames of a clip, N = B * F images, C channels, H W height and width, L = H * W
tokens of an image, T condition tokens, D their width, E width of the time embedding.

Submodules have the names of the published checkpoint, so that state dicts need no renaming. Layers and initialisation
are those of diffusers; `forward` is written here where clips or reference features are involved.
"""

from __future__ import annotations

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn import functional as F


def norm_over_clip(norm: nn.GroupNorm, x_NCHW: Tensor, frames: int) -> Tensor:
    """GroupNorm with statistics over all `frames` of a clip (N = B * frames) instead of each image.

    The frames are stacked along the height, which needs no copy in the channels_last memory format.
    """
    if frames == 1:
        return norm(x_NCHW)
    height = x_NCHW.shape[2]
    tall = x_NCHW.unflatten(0, (-1, frames)).transpose(1, 2).flatten(2, 3)  # B C F*H W
    return norm(tall).unflatten(2, (frames, height)).transpose(1, 2).flatten(0, 1)


class ResnetBlock(ResnetBlock2D):
    """The ResNet block of diffusers, with norms that may pool over the frames of a clip."""

    def __init__(self, channels_in: int, channels_out: int, time_channels: int, groups: int):
        super().__init__(
            in_channels=channels_in,
            out_channels=channels_out,
            temb_channels=time_channels,
            groups=groups,
            eps=1e-5,
        )

    def forward(self, x_NCHW: Tensor, time_BE: Tensor, frames: int = 1, norm_frames: int = 1) -> Tensor:
        """The new images; each clip has `frames` consecutive ones, norms pool over `norm_frames` (1 or `frames`)."""
        h = F.silu(norm_over_clip(self.norm1, x_NCHW, norm_frames))
        time_BC = self.time_emb_proj(F.silu(time_BE))
        h = self.conv1(h) + time_BC.repeat_interleave(frames, dim=0)[:, :, None, None]
        h = self.conv2(F.silu(norm_over_clip(self.norm2, h, norm_frames)))
        return h + (x_NCHW if self.conv_shortcut is None else self.conv_shortcut(x_NCHW))


class ReferenceAttention(Attention):
    """Self-attention over the tokens of an image and, if given, of the reference."""

    def forward(  # type: ignore[override]
        self, tokens_NLC: Tensor, reference_BLC: Tensor | None = None, dropped_B: Tensor | None = None
    ) -> Tensor:
        """Attend from each image to itself and, if given, to the reference features of its clip.

        The reference's keys and values are projected once for all frames of a clip. Samples of `dropped_B` ignore the
        reference: their own tokens take its place. With every key present twice, the softmax average stays the same,
        so this equals a mask, and fused attention kernels can be used, which take no mask.
        """
        query, key, value = self.to_q(tokens_NLC), self.to_k(tokens_NLC), self.to_v(tokens_NLC)
        if reference_BLC is not None:
            key = _join(key, self.to_k(reference_BLC), dropped_B)
            value = _join(value, self.to_v(reference_BLC), dropped_B)
        query, key, value = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (query, key, value))
        out = F.scaled_dot_product_attention(query, key, value)
        return self.to_out[0](out.transpose(1, 2).flatten(2))


def _join(own_NLC: Tensor, reference_BLC: Tensor, dropped_B: Tensor | None) -> Tensor:
    """Concatenate along L: own tokens, then the reference tokens of the clip (own tokens again where dropped)."""
    frames = own_NLC.shape[0] // reference_BLC.shape[0]
    own_BFLC = own_NLC.unflatten(0, (-1, frames))
    reference_BFLC = reference_BLC.unsqueeze(1).expand_as(own_BFLC)
    if dropped_B is not None:
        reference_BFLC = torch.where(dropped_B[:, None, None, None], own_BFLC, reference_BFLC)
    return torch.cat([own_BFLC, reference_BFLC], dim=2).flatten(0, 1)


class TransformerBlock(nn.Module):
    """Self-attention with the reference, cross-attention to the condition tokens, feed-forward; pre-norm residuals."""

    def __init__(self, channels: int, heads: int, token_width: int):
        super().__init__()
        width = channels // heads
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = ReferenceAttention(channels, heads=heads, dim_head=width)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = Attention(channels, cross_attention_dim=token_width, heads=heads, dim_head=width)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(
        self,
        h_NLC: Tensor,
        tokens_BTD: Tensor,
        reference_BLC: Tensor | None,
        dropped_B: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """The new tokens, and the output of the first norm, which is the feature that a ReferenceNet returns."""
        feature_NLC = self.norm1(h_NLC)
        h_NLC = h_NLC + self.attn1(feature_NLC, reference_BLC, dropped_B)
        # All frames of a clip have the same condition tokens: their queries are joined, so that no token is repeated.
        queries = self.norm2(h_NLC).reshape(tokens_BTD.shape[0], -1, h_NLC.shape[-1])
        h_NLC = h_NLC + self.attn2(queries, tokens_BTD).view_as(h_NLC)
        return h_NLC + self.ff(self.norm3(h_NLC)), feature_NLC


class SpatialTransformer(nn.Module):
    """One transformer block over the pixels of each image, with a residual connection."""

    def __init__(self, channels: int, heads: int, token_width: int, groups: int):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, heads, token_width)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(
        self,
        x_NCHW: Tensor,
        tokens_BTD: Tensor,
        reference_BLC: Tensor | None = None,
        dropped_B: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The new images, and the feature (N L C) after the first norm of the block."""
        h_NLC = self.embed(x_NCHW)
        h_NLC, feature_NLC = self.transformer_blocks[0](h_NLC, tokens_BTD, reference_BLC, dropped_B)
        h_NCHW = h_NLC.transpose(1, 2).unflatten(2, x_NCHW.shape[2:])
        return x_NCHW + self.proj_out(h_NCHW), feature_NLC

    def embed(self, x_NCHW: Tensor) -> Tensor:
        """The input of the block: normalised and projected pixels as tokens (N L C)."""
        return self.proj_in(self.norm(x_NCHW)).flatten(2).transpose(1, 2)
