"""The Temporal Layer: AnimateDiff v3 motion modules, which attend over the frames of a clip at each pixel.

Shape suffixes as in `layers`; P = B * H * W pixels, each with a sequence of F tokens.
"""

from __future__ import annotations

from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from torch import Tensor, nn


class TemporalAttention(Attention):
    """Self-attention over frames, with sinusoidal position encodings added to its input."""

    def __init__(self, channels: int, heads: int, max_frames: int):
        super().__init__(channels, heads=heads, dim_head=channels // heads)
        self.pos_encoder = SinusoidalPositionalEmbedding(channels, max_frames)

    def forward(self, tokens_PFC: Tensor) -> Tensor:  # type: ignore[override]
        """Attend over F."""
        return super().forward(self.pos_encoder(tokens_PFC))


class TemporalBlock(nn.Module):
    """Two temporal self-attentions and a feed-forward; pre-norm residuals."""

    def __init__(self, channels: int, heads: int, max_frames: int):
        super().__init__()
        self.attention_blocks = nn.ModuleList(
            TemporalAttention(channels, heads, max_frames) for _ in range(2)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.ff = FeedForward(channels)
        self.ff_norm = nn.LayerNorm(channels)

    def forward(self, h_PFC: Tensor) -> Tensor:
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            h_PFC = h_PFC + attention(norm(h_PFC))
        return h_PFC + self.ff(self.ff_norm(h_PFC))


class TemporalTransformer(nn.Module):
    """GroupNorm of each frame, projection, temporal block, zero-initialised projection; residual connection."""

    def __init__(self, channels: int, heads: int, groups: int, max_frames: int):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([TemporalBlock(channels, heads, max_frames)])
        self.proj_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, x_NCHW: Tensor, frames: int) -> Tensor:
        height, width = x_NCHW.shape[2:]
        h_BHWFC = self.norm(x_NCHW).unflatten(0, (-1, frames)).permute(0, 3, 4, 1, 2)
        h_PFC = self.proj_in(h_BHWFC).flatten(0, 2)
        h_PFC = self.proj_out(self.transformer_blocks[0](h_PFC))
        return x_NCHW + h_PFC.unflatten(0, (-1, height, width)).permute(0, 3, 4, 1, 2).flatten(0, 1)


class MotionModule(nn.Module):
    """One motion module, with the submodules of the published tensor names."""

    def __init__(self, channels: int, heads: int, groups: int, max_frames: int):
        super().__init__()
        self.max_frames = max_frames
        self.temporal_transformer = TemporalTransformer(channels, heads, groups, max_frames)

    def forward(self, x_NCHW: Tensor, frames: int) -> Tensor:
        """The new images; each clip has `frames` consecutive ones."""
        if frames > self.max_frames:
            raise ValueError(f"a clip has {frames} frames, the motion modules take at most {self.max_frames}")
        return self.temporal_transformer(x_NCHW, frames)
