"""Cost of a pass in FLOP: 2 for each multiply-add of a convolution, linear layer or attention, 0 for everything else.

Counts have two parts, whose backward passes differ. `dense` operations have weights: the gradient of their input costs
as much as the forward pass, and so does the gradient of their weights. `attention` is between activations: its backward
pass costs twice its forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.model.config import ModelConfig
from trainer.model.megactor import STAGE_GROUPS, Stage

_DRIVEN = (
    (3, 3, 3, 1),
    (3, 16, 4, 2),
    (16, 16, 3, 1),
    (16, 32, 4, 2),
    (32, 32, 3, 1),
    (32, 64, 4, 2),
    (64, 64, 3, 1),
)
"""Convolutions of the DrivenEncoder on frames: channels in and out, kernel, stride."""


@dataclass(frozen=True)
class Flops:
    """FLOP of a forward pass, in the two parts."""

    dense: float = 0.0
    attention: float = 0.0

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.dense + other.dense, self.attention + other.attention)

    def __mul__(self, times: float) -> Flops:
        return Flops(self.dense * times, self.attention * times)

    @property
    def forward(self) -> float:
        """Both parts."""
        return self.dense + self.attention

    def backward(self, weights: bool) -> float:
        """FLOP of the backward pass: gradients of the inputs and, if `weights`, of the weights."""
        return self.dense * (1 + weights) + 2 * self.attention


@dataclass(frozen=True)
class ModelFlops:
    """Forward FLOP of one clip by parameter group; `reference_read` is the denoiser's attention to the reference."""

    unet_spatial: Flops
    reference_read: Flops
    motion_modules: Flops
    driven_encoder: Flops
    reference_net: Flops

    @property
    def forward(self) -> float:
        """FLOP of a forward pass."""
        parts = (self.unet_spatial, self.reference_read, self.motion_modules, self.driven_encoder)
        return sum(part.forward for part in parts) + self.reference_net.forward

    def training_step(self, stage: Stage) -> float:
        """FLOP of forward and backward pass of one clip in a stage.

        The image stage runs no motion modules. Gradients pass through a frozen part only if a trained part comes
        before it. In the video stage that holds for all of the denoiser but its first layer; the difference is ignored.
        """
        trained = STAGE_GROUPS[stage]
        spatial = "unet_spatial" in trained
        total = self.unet_spatial + self.reference_read
        step = total.forward + total.backward(spatial)
        if stage != "image":
            step += self.motion_modules.forward + self.motion_modules.backward("motion_modules" in trained)
        for group, part in (("driven_encoder", self.driven_encoder), ("reference_net", self.reference_net)):
            step += part.forward + (part.backward(True) if group in trained else 0)
        return step


def count(config: ModelConfig, frames: int, height: int, width: int, tokens: int) -> ModelFlops:
    """FLOP of one clip of `frames` latents of the given size, with `tokens` condition tokens."""
    spatial, read, motion = _unet(config, config.in_channels, frames, height, width, tokens)
    spatial += _conv(config.block_out_channels[0], config.latent_channels, 3, height * width) * frames
    net, _, _ = _unet(config, config.latent_channels, 1, height, width, tokens)
    widest, pixels = config.block_out_channels[0], height * width
    tail = _transformer(widest, config.cross_attention_dim, 1, pixels, tokens)
    kept = Flops(_dense(widest, widest, pixels))  # the first projection of the last transformer
    return ModelFlops(
        unet_spatial=spatial,
        reference_read=read,
        motion_modules=motion,
        driven_encoder=_driven_encoder(config, frames, 8 * height, 8 * width),
        reference_net=net + tail * -1 + kept,
    )


def _dense(channels_in: int, channels_out: int, positions: int) -> float:
    return 2.0 * channels_in * channels_out * positions


def _conv(channels_in: int, channels_out: int, kernel: int, pixels: int) -> Flops:
    return Flops(_dense(channels_in, channels_out, pixels) * kernel**2)


def _resnet(channels_in: int, channels_out: int, time_channels: int, frames: int, pixels: int) -> Flops:
    convs = _conv(channels_in, channels_out, 3, pixels) + _conv(channels_out, channels_out, 3, pixels)
    if channels_in != channels_out:
        convs += _conv(channels_in, channels_out, 1, pixels)
    return convs * frames + Flops(_dense(time_channels, channels_out, 1))


def _transformer(channels: int, token_width: int, frames: int, pixels: int, tokens: int) -> Flops:
    # Matrices of channels x channels for each pixel: 2 projections, 4 of the self-attention, 2 of the cross-attention,
    # 8 + 4 of the feed-forward. For each token: the keys and values of the cross-attention.
    per_frame = Flops(_dense(channels, 20 * channels, pixels), 4.0 * pixels * (pixels + tokens) * channels)
    return per_frame * frames + Flops(_dense(token_width, 2 * channels, tokens))


def _read(channels: int, frames: int, pixels: int) -> Flops:
    """Attention to the reference: keys and values once a clip; every pixel of a frame attends to `pixels` tokens."""
    return Flops(_dense(channels, 2 * channels, pixels), 4.0 * pixels * pixels * channels * frames)


def _motion(channels: int, frames: int, pixels: int) -> Flops:
    # Matrices of channels x channels: 2 projections, 4 for each of two attentions, 8 + 4 of the feed-forward.
    return Flops(
        _dense(channels, 22 * channels, pixels * frames), 2 * 4.0 * frames * frames * channels * pixels
    )


def _unet(
    config: ModelConfig, channels_in: int, frames: int, height: int, width: int, tokens: int
) -> tuple[Flops, Flops, Flops]:
    """A UNet up to its output convolution; its attention to the reference; its motion modules."""
    widths, layers, last = (
        config.block_out_channels,
        config.layers_per_block,
        len(config.block_out_channels) - 1,
    )
    time_channels = 4 * widths[0]
    spatial = _conv(channels_in, widths[0], 3, height * width) * frames
    spatial += Flops(_dense(widths[0], time_channels, 1) + _dense(time_channels, time_channels, 1))
    read, motion = Flops(), Flops()
    sizes = [(height, width)]
    for _ in range(last):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    areas = [h * w for h, w in sizes]

    def layer(level: int, width_in: int, decoder: bool) -> None:
        nonlocal spatial, read, motion
        channels, pixels = widths[level], areas[level]
        spatial += _resnet(width_in, channels, time_channels, frames, pixels)
        motion += _motion(channels, frames, pixels)
        if level < last:
            spatial += _transformer(channels, config.cross_attention_dim, frames, pixels, tokens)
            read += _read(channels, frames, pixels) if decoder else Flops()

    skips = [widths[0]]
    for level, channels in enumerate(widths):
        for index in range(layers):
            layer(level, channels if index else widths[max(level - 1, 0)], decoder=False)
            skips.append(channels)
        if level < last:
            spatial += _conv(channels, channels, 3, areas[level + 1]) * frames
            skips.append(channels)

    middle, pixels = widths[-1], areas[-1]
    spatial += _resnet(middle, middle, time_channels, frames, pixels) * 2
    spatial += _transformer(middle, config.cross_attention_dim, frames, pixels, tokens)
    read += _read(middle, frames, pixels)

    for level in reversed(range(len(widths))):
        for index in range(layers + 1):
            width_in = widths[level] if index else widths[min(level + 1, last)]
            layer(level, width_in + skips.pop(), decoder=True)
        if level:
            spatial += _conv(widths[level], widths[level], 3, areas[level - 1]) * frames
    return spatial, read, motion


def _driven_encoder(config: ModelConfig, frames: int, height: int, width: int) -> Flops:
    total, pixels = Flops(), height * width
    for channels_in, channels_out, kernel, stride in _DRIVEN:
        pixels //= stride**2
        total += _conv(channels_in, channels_out, kernel, pixels)
    total += _conv(64, 128, 3, pixels) + _conv(128, config.driven_channels, 1, pixels)
    return total * frames + _reference_tower(config.reference_size or 512)


def _reference_tower(size: int) -> Flops:
    pixels, total, narrow = size * size, _conv(3, 4, 3, size * size), 4
    for _ in range(7):
        pixels //= 4
        total += _conv(narrow, 2 * narrow, 4, pixels) + _conv(2 * narrow, 2 * narrow, 3, pixels)
        narrow *= 2
    return total + _conv(narrow, narrow, 4, 1) + Flops(_dense(narrow, 256, 1) + _dense(256, 256, 1))
