"""The frozen VAE: diffusers' `AutoencoderKL` with Stable Diffusion's latent scale.

Shapes: N images, C latent channels, h w latent size.
"""

from __future__ import annotations

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from trainer.model.config import VAEConfig

LATENT = 8  # pixels of a latent pixel, in each direction
_CHUNK = 8  # images decoded at a time


def build_vae(config: VAEConfig) -> AutoencoderKL:
    """An AutoencoderKL of the given size, with random weights."""
    levels = len(config.block_out_channels)
    return AutoencoderKL(
        latent_channels=config.latent_channels,
        block_out_channels=config.block_out_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=config.layers_per_block,
        norm_num_groups=config.norm_num_groups,
        sample_size=config.sample_size,
        scaling_factor=config.scaling_factor,
    )


@torch.no_grad()
def decode(vae: AutoencoderKL, latents_NChw: Tensor) -> Tensor:
    """Images (N 3 H W) in [0, 1] of scaled latents; at most 8 at a time are decoded, which bounds the memory."""
    latents_NChw = latents_NChw / vae.config["scaling_factor"]
    images = torch.cat([vae.decode(chunk).sample for chunk in latents_NChw.split(_CHUNK)])
    return (images / 2 + 0.5).clamp(0, 1)
