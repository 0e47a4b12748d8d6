"""The levels of a UNet, shared by the denoiser (with motion modules) and the ReferenceNet (without).

Shape suffixes as in `layers`. A level keeps no state between calls, so that activation checkpointing can run it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainer.model.config import ModelConfig
from trainer.model.layers import ResnetBlock, SpatialTransformer
from trainer.model.temporal import MotionModule


@dataclass(frozen=True)
class Context:
    """Inputs that are the same for all layers of a forward pass.

    Attributes:
        time_BE: time embedding.
        tokens_BTD: condition tokens.
        frames: images of each clip; the images of a clip are consecutive along N.
        norm_frames: images over which the ResNets' norms pool, 1 or `frames`.
        motion: whether the motion modules run.
        dropped_B: true for samples that ignore the reference.
        recompute: activation checkpointing: a layer runs again in the backward pass instead of keeping activations.
    """

    time_BE: Tensor
    tokens_BTD: Tensor
    frames: int = 1
    norm_frames: int = 1
    motion: bool = False
    dropped_B: Tensor | None = None
    recompute: bool = False


@dataclass(frozen=True)
class LevelShape:
    """Channels of one level, and whether it has spatial transformers and motion modules."""

    channels: int
    attention: bool
    motion: bool


class _Level(nn.Module):
    """ResNets, each followed by a spatial transformer and a motion module where the level has them."""

    def __init__(self, config: ModelConfig, shape: LevelShape, channels_in: Sequence[int]):
        super().__init__()
        channels, groups, heads = shape.channels, config.norm_num_groups, config.attention_heads
        time_channels = 4 * config.block_out_channels[0]
        self.resnets = nn.ModuleList(ResnetBlock(c, channels, time_channels, groups) for c in channels_in)
        self.attentions = nn.ModuleList(
            SpatialTransformer(channels, heads, config.cross_attention_dim, groups)
            for _ in channels_in
            if shape.attention
        )
        self.motion_modules = nn.ModuleList(
            MotionModule(channels, heads, groups, config.max_frames) for _ in channels_in if shape.motion
        )

    def layer(
        self, index: int, x_NCHW: Tensor, context: Context, reference_BLC: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Run layer `index`; also returns the feature of its spatial transformer (None without one)."""
        if context.recompute and torch.is_grad_enabled():
            return checkpoint(self._layer, index, x_NCHW, context, reference_BLC, use_reentrant=False)
        return self._layer(index, x_NCHW, context, reference_BLC)

    def _layer(
        self, index: int, x_NCHW: Tensor, context: Context, reference_BLC: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        x_NCHW = self.resnets[index](x_NCHW, context.time_BE, context.frames, context.norm_frames)
        feature_NLC = None
        if len(self.attentions):
            x_NCHW, feature_NLC = self.attentions[index](
                x_NCHW, context.tokens_BTD, reference_BLC, context.dropped_B
            )
        if context.motion and len(self.motion_modules):
            x_NCHW = self.motion_modules[index](x_NCHW, context.frames)
        return x_NCHW, feature_NLC


class DownBlock(_Level):
    """A level of the encoder; all but the last halve the image at their end."""

    def __init__(self, config: ModelConfig, shape: LevelShape, channels_in: int, downsample: bool):
        inputs = [channels_in] + [shape.channels] * (config.layers_per_block - 1)
        super().__init__(config, shape, inputs)
        self.downsamplers = nn.ModuleList(
            [Downsample2D(shape.channels, use_conv=True, name="op")] if downsample else []
        )

    def forward(self, x_NCHW: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        """The images, and the output of every layer for the decoder's skip connections."""
        skips = []
        for index in range(len(self.resnets)):
            x_NCHW, _ = self.layer(index, x_NCHW, context, None)
            skips.append(x_NCHW)
        for downsample in self.downsamplers:
            x_NCHW = downsample(x_NCHW)
            skips.append(x_NCHW)
        return x_NCHW, skips


class MidBlock(nn.Module):
    """ResNet, spatial transformer and ResNet at the smallest size; no motion module."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        channels, groups = config.block_out_channels[-1], config.norm_num_groups
        time_channels = 4 * config.block_out_channels[0]
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, time_channels, groups) for _ in range(2))
        self.attentions = nn.ModuleList(
            [SpatialTransformer(channels, config.attention_heads, config.cross_attention_dim, groups)]
        )

    def forward(
        self, x_NCHW: Tensor, context: Context, reference_BLC: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The images, and the spatial transformer's feature."""
        x_NCHW = self.resnets[0](x_NCHW, context.time_BE, context.frames, context.norm_frames)
        x_NCHW, feature_NLC = self.attentions[0](x_NCHW, context.tokens_BTD, reference_BLC, context.dropped_B)
        return self.resnets[1](x_NCHW, context.time_BE, context.frames, context.norm_frames), feature_NLC


class UpBlock(_Level):
    """A level of the decoder; each layer takes one skip connection, and all but the last level double the image."""

    def __init__(
        self,
        config: ModelConfig,
        shape: LevelShape,
        channels_in: int,
        skip_channels: Sequence[int],
        upsample: bool,
    ):
        inputs = [channels_in] + [shape.channels] * (len(skip_channels) - 1)
        super().__init__(config, shape, [c + skip for c, skip in zip(inputs, skip_channels, strict=True)])
        self.upsamplers = nn.ModuleList([Upsample2D(shape.channels, use_conv=True)] if upsample else [])

    def forward(
        self, x_NCHW: Tensor, skips: list[Tensor], context: Context, references_BLC: Sequence[Tensor] = ()
    ) -> tuple[Tensor, list[Tensor]]:
        """The images and the layers' features.

        Args:
            x_NCHW: the images.
            skips: outputs of the encoder; the level removes those it uses from the end.
            context: shared inputs.
            references_BLC: the reference feature of each layer, or empty.
        """
        features = []
        for index in range(len(self.resnets)):
            x_NCHW = torch.cat([x_NCHW, skips.pop()], dim=1)
            reference_BLC = references_BLC[index] if references_BLC else None
            x_NCHW, feature_NLC = self.layer(index, x_NCHW, context, reference_BLC)
            if feature_NLC is not None:
                features.append(feature_NLC)
        for upsample in self.upsamplers:
            x_NCHW = upsample(x_NCHW, output_size=skips[-1].shape[2:])
        return x_NCHW, features


def build_levels(config: ModelConfig, motion: bool) -> tuple[nn.ModuleList, MidBlock, nn.ModuleList]:
    """Encoder levels, middle block and decoder levels of a Stable Diffusion UNet.

    The smallest level has no attention. `motion` adds motion modules.
    """
    widths = config.block_out_channels
    last = len(widths) - 1
    shapes = [LevelShape(width, attention=level < last, motion=motion) for level, width in enumerate(widths)]

    skip_channels = [widths[0]]
    down = nn.ModuleList()
    for level, shape in enumerate(shapes):
        down.append(DownBlock(config, shape, widths[max(level - 1, 0)], downsample=level < last))
        skip_channels += [shape.channels] * (config.layers_per_block + (level < last))

    up = nn.ModuleList()
    for level in range(last, -1, -1):
        taken = [skip_channels.pop() for _ in range(config.layers_per_block + 1)]
        up.append(UpBlock(config, shapes[level], widths[min(level + 1, last)], taken, upsample=level > 0))
    return down, MidBlock(config), up
