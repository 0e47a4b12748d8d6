"""`Encoders` from the model's own VAE and CLIP tower, in memory or from folders."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import nn
from transformers import CLIPVisionConfig

from datagen.common.errors import UserError
from trainer.checkpoints.tensor_files import read_tensors
from trainer.checkpoints.vae import read_vae
from trainer.latents.encoders import Encoders
from trainer.model.image_encoder import ImageEncoder, freeze
from trainer.model.state_dict import LayoutError, check_layout

logger = logging.getLogger(__name__)


def encoders_of(
    vae: AutoencoderKL, image_encoder: ImageEncoder, *, device: torch.device | str = "cpu", batch: int = 8
) -> Encoders:
    """Encoders that run the given modules, frozen and moved to `device`."""
    freeze(vae).to(device)
    freeze(image_encoder).to(device)
    return Encoders(
        moments=lambda images: vae.encode(images.to(vae.dtype)).latent_dist.parameters,
        tokens=lambda pixels: image_encoder.tokens(pixels.to(image_encoder.dtype)),
        device=device,
        batch=batch,
        vae=module_hash(vae),
        clip=module_hash(image_encoder),
    )


def load_encoders(vae: Path, clip: Path, *, device: torch.device | str = "cpu", batch: int = 8) -> Encoders:
    """Encoders of two model folders, as diffusers and transformers lay them out, in float32.

    Raises:
        UserError: a folder does not hold what its config describes.
    """
    return encoders_of(load_vae(vae), load_clip(clip), device=device, batch=batch)


def module_hash(module: nn.Module) -> str:
    """Hash over names, types and values of a module's tensors: equal hashes give equal latents."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def load_vae(folder: Path) -> AutoencoderKL:
    """The VAE of a diffusers folder, float32."""
    logger.info("loading the VAE from %s", folder)
    weights = read_vae(folder)
    vae = AutoencoderKL.from_config(weights.config)
    vae.load_state_dict(weights.state)
    return vae.float()


def load_clip(folder: Path) -> ImageEncoder:
    """The vision tower of a CLIP folder, which may hold the text tower too."""
    logger.info("loading CLIP from %s", folder)
    try:
        encoder = ImageEncoder(CLIPVisionConfig.from_pretrained(folder, local_files_only=True))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{folder} holds no readable config of a CLIP vision model: {error}") from error
    expected = encoder.state_dict()
    state = {
        name: tensor
        for name, tensor in read_tensors(folder).items()
        if name.startswith(("vision_model.", "visual_projection.")) and not name.endswith("position_ids")
    }
    try:
        check_layout(
            state, {name: tuple(tensor.shape) for name, tensor in expected.items()}, f"{folder} (CLIP)"
        )
    except LayoutError as error:
        raise UserError(str(error)) from error
    encoder.load_state_dict(state)
    return encoder.float()
