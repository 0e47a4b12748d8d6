"""The frozen VAE: diffusers' `AutoencoderKL`, with Stable Diffusion's scale and MegActor's two readings of it."""

from __future__ import annotations

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from trainer.model.config import VAEConfig

LATENT = 8  # pixels of a latent pixel, in each direction


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
def encode(vae: AutoencoderKL, images_N3HW: Tensor, noise_NChw: Tensor | None = None) -> Tensor:
    """Scaled latents of images in [-1, 1]: a posterior sample made with `noise`, or the mean without."""
    posterior = vae.encode(images_N3HW).latent_dist
    latents = posterior.mean if noise_NChw is None else posterior.mean + posterior.std * noise_NChw
    return latents * vae.config["scaling_factor"]


@torch.no_grad()
def decode(vae: AutoencoderKL, latents_NChw: Tensor) -> Tensor:
    """Images in [0, 1] of scaled latents."""
    images = vae.decode(latents_NChw / vae.config["scaling_factor"]).sample
    return (images / 2 + 0.5).clamp(0, 1)
