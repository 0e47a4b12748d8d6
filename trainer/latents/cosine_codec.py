"""A fixed replacement of the VAE for tiny models: the cosine transform of JPEG, limited to its lowest frequencies.

Each 8 x 8 block of an image becomes one latent pixel, as with Stable Diffusion's VAE. Channels are coefficients of
luma and of two colour differences, in the order of frequency; with all 192 channels it is invertible. It is neither
trained nor random.

Shapes: N images, H W in pixels, h = H / 8, w = W / 8, C latent channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 8
_COLOURS = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
"""Luma, red against blue, green against magenta: orthogonal."""
_LOG_VARIANCE = -30.0  # log-variance of latents: samples equal the mean within rounding


@dataclass(frozen=True)
class CosineCodec:
    """The transform as one (C, 3, 8, 8) kernel, orthonormal, and the (C, 1, 1) scale of its coefficients."""

    kernel_C388: Tensor
    scale_C11: Tensor

    @classmethod
    def build(cls, channels: int, device: torch.device | str = "cpu") -> CosineCodec:
        """A third of the channels, rounded down, describes colour; the rest, at most 64, luma."""
        if not 3 <= channels <= 3 * BLOCK**2:
            raise ValueError(f"latent_channels is {channels}; the cosine codec takes 3 to {3 * BLOCK**2}")
        luma = min(BLOCK**2, channels - 2 * max(1, channels // 6))
        colour = channels - luma
        counts = (luma, colour - colour // 2, colour // 2)
        colours = F.normalize(torch.tensor(_COLOURS, dtype=torch.float64), dim=1)
        frequencies = sorted(
            ((v, u) for v in range(BLOCK) for u in range(BLOCK)), key=lambda vu: (math.hypot(*vu), vu)
        )
        waves = _waves()
        kernels, scales = [], []
        for axis, count in zip(colours, counts, strict=True):
            for v, u in frequencies[:count]:
                kernels.append(torch.einsum("c,y,x->cyx", axis, waves[v], waves[u]))
                scales.append(_scale(math.hypot(v, u)))
        scale = torch.tensor(scales).view(-1, 1, 1)
        return cls(torch.stack(kernels).float().to(device), scale.float().to(device))

    def moments(self, images_N3HW: Tensor) -> Tensor:
        """Mean and log variance (N, 2 C, h, w) of images in [-1, 1]; the log variance is -30 everywhere."""
        latents = F.conv2d(images_N3HW, self.kernel_C388, stride=BLOCK) * self.scale_C11
        return torch.cat([latents, torch.full_like(latents, _LOG_VARIANCE)], dim=1)

    def decode(self, latents_NChw: Tensor) -> Tensor:
        """Images in [0, 1]."""
        images = F.conv_transpose2d(latents_NChw / self.scale_C11, self.kernel_C388, stride=BLOCK)
        return (images / 2 + 0.5).clamp(0, 1)


def _waves() -> Tensor:
    """Rows of the orthonormal cosine transform (DCT-II) of length 8."""
    steps = torch.arange(BLOCK, dtype=torch.float64)
    waves = torch.cos(math.pi * (2 * steps + 1) * steps[:, None] / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    waves[0] /= math.sqrt(2)
    return waves


def _scale(frequency: float) -> float:
    """Factor that enlarges the small coefficients of high frequencies, but not to the size of the others.

    The mean of a block stays the largest, so that noise hides it last: it matters most to the eye.
    """
    return float(((1 + 2.5 * frequency) / 2) ** 0.75)
