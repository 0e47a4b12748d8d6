"""The small models of the cases, built once a run with the sizes of the folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from transformers import CLIPVisionConfig

from trainer.latents.encoders import Encoders, mean_latents
from trainer.latents.load import encoders_of
from trainer.model.config import PUBLISHED, ModelConfig
from trainer.model.image_encoder import ImageEncoder
from trainer.model.megactor import MegActor
from trainer.parity.weights import fill


class Models:
    """Models of `tiny_layout.json`, with weights drawn from their names."""

    def __init__(self, layout: Mapping[str, Any]):
        self.layout = layout
        self._sizes = layout["tiny_configs"]

    @cached_property
    def config(self) -> ModelConfig:
        """The published config with the sizes of the folder."""
        unet = self._sizes["unet_and_appearance_encoder"]
        motion = self._sizes["unet_additional_kwargs"]["motion_module_kwargs"]
        latent = unet["in_channels"]
        return replace(
            PUBLISHED.model,
            latent_channels=latent,
            driven_channels=self._sizes["unet_conv_in_channels"] - 2 * latent - 1,
            block_out_channels=tuple(unet["block_out_channels"]),
            layers_per_block=unet["layers_per_block"],
            attention_heads=unet["attention_head_dim"],
            cross_attention_dim=unet["cross_attention_dim"],
            norm_num_groups=unet["norm_num_groups"],
            max_frames=motion["temporal_position_encoding_max_len"],
        )

    @cached_property
    def megactor(self) -> MegActor:
        """Denoiser and ReferenceNet."""
        model = MegActor(self.config)
        fill(model)
        return model

    @cached_property
    def vae(self) -> AutoencoderKL:
        """The VAE with the sizes of the folder."""
        return self.build_vae(self._sizes["vae"])

    @cached_property
    def image_encoder(self) -> ImageEncoder:
        """The CLIP branch with the sizes of the folder."""
        return self.build_image_encoder(self._sizes["image_encoder"])

    @cached_property
    def encoders(self) -> Encoders:
        """VAE and CLIP branch as training and inference call them."""
        return encoders_of(self.vae, self.image_encoder)

    @property
    def scaling_factor(self) -> float:
        """Factor from the VAE's moments to latents."""
        return float(self.vae.config["scaling_factor"])

    def mean_latents(self, images_N3HW: Tensor) -> Tensor:
        """Scaled posterior mean of uint8 images."""
        return mean_latents(self.encoders.image_moments(images_N3HW), self.scaling_factor)

    @staticmethod
    def build_vae(config: Mapping[str, Any]) -> AutoencoderKL:
        """A VAE with the given sizes."""
        vae = AutoencoderKL(**config)
        fill(vae, "vae")
        return vae.requires_grad_(False)

    @staticmethod
    def build_image_encoder(config: Mapping[str, Any]) -> ImageEncoder:
        """A CLIP branch with the given sizes."""
        encoder = ImageEncoder(CLIPVisionConfig(**config))
        fill(encoder, "image_encoder")
        return encoder.requires_grad_(False)
