"""The frozen parts: what turns pixels into latents and tokens, and latents into pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from datagen.errors import UserError
from trainer.config import MegActorConfig
from trainer.data.encoders import load_clip, load_vae, module_hash
from trainer.data.latents import Encoders
from trainer.data.precomputed import Settings
from trainer.model.image_encoder import ImageEncoder, freeze
from trainer.model.vae import build_vae
from trainer.train.codec import CosineCodec
from trainer.train.config import TrainConfig

CHUNK = 8  # images decoded at a time


@dataclass(frozen=True)
class Frozen:
    """Encoders and decoder; a part that a run can do without may be missing.

    Attributes:
        encoders: pixels to moments and tokens.
        scaling_factor: of latents against moments.
        decode: scaled latents (N, C, h, w) to images in [0, 1].
    """

    encoders: Encoders
    scaling_factor: float
    decode: Callable[[Tensor], Tensor] | None


def load_frozen(
    config: TrainConfig,
    model: MegActorConfig,
    device: torch.device,
    own_vae: Path | None,
    stored: Settings | None,
) -> Frozen:
    """Build what the config names.

    Args:
        config: of the run.
        model: of the model.
        device: where they run.
        own_vae: folder of the VAE that came with the model's checkpoint.
        stored: what made the precomputed latents, where the data has them.

    Raises:
        UserError: a part is missing that the run needs, or is not the one the latents were made with.
    """
    tokens, clip_hash = _image_encoder(config, model, device, stored is not None)
    if config.codec == "cosine":
        codec = CosineCodec.build(model.model.latent_channels, device)
        encoders = Encoders(codec.moments, tokens, device, vae="cosine", clip=clip_hash)
        return Frozen(_same(encoders, stored), 1.0, codec.decode)
    folder = own_vae if config.codec == "vae" else Path(config.codec)
    if folder is None:
        if stored is None:
            raise UserError(
                "codec is 'vae', but the checkpoint brought none and no latents are precomputed; "
                "give its folder with --set codec=DIR"
            )
        encoders = Encoders(_missing("VAE", "codec"), tokens, device, clip=clip_hash)
        return Frozen(_same(encoders, stored), model.vae.scaling_factor, None)
    vae: Any = random_vae(model) if config.codec == "random" else load_vae(folder)  # diffusers has no types
    freeze(vae).to(device)
    encoders = Encoders(
        lambda images: vae.encode(images).latent_dist.parameters,
        tokens,
        device,
        vae=module_hash(vae),
        clip=clip_hash,
    )
    return Frozen(_same(encoders, stored), float(vae.config["scaling_factor"]), _decoder_of(vae))


def _same(encoders: Encoders, stored: Settings | None) -> Encoders:
    """The encoders, if precomputed latents are theirs."""
    for field, name in (("codec", "vae"), ("image_encoder", "clip")):
        ours, theirs = getattr(encoders, name), stored and getattr(stored, name)
        if ours and theirs and ours != theirs:
            raise UserError(
                f"{field} has hash {ours}, but the latents were precomputed with {theirs}; "
                f"give the same network, or set data.precomputed to never"
            )
    return encoders


def _image_encoder(
    config: TrainConfig, model: MegActorConfig, device: torch.device, stored: bool
) -> tuple[Callable[[Tensor], Tensor], str]:
    if config.image_encoder is None:
        if not stored:
            raise UserError(
                "no CLIP tokens are precomputed; give the CLIP vision model with --set image_encoder=DIR, "
                "or `random` for a tiny model"
            )
        return _missing("image encoder", "image_encoder"), ""
    untrained = config.image_encoder == "random"
    encoder = random_image_encoder(model) if untrained else load_clip(Path(config.image_encoder))
    freeze(encoder).to(device)
    return encoder.tokens, module_hash(encoder)


def random_vae(model: MegActorConfig) -> AutoencoderKL:
    """An untrained VAE, always the same: measuring speed takes no more."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_vae(model.vae)


def random_image_encoder(model: MegActorConfig) -> ImageEncoder:
    """An untrained image encoder, always the same: a checkpoint need not hold it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ImageEncoder(model.image_encoder)


def _missing(what: str, field: str) -> Callable[[Tensor], Tensor]:
    def refuse(images: Tensor) -> Tensor:
        raise UserError(f"the run has no {what}; give its folder with --set {field}=DIR")

    return refuse


def _decoder_of(vae: Any) -> Callable[[Tensor], Tensor]:
    @torch.no_grad()
    def decode(latents_NChw: Tensor) -> Tensor:
        latents_NChw = latents_NChw / vae.config["scaling_factor"]
        images = torch.cat([vae.decode(chunk).sample for chunk in latents_NChw.split(CHUNK)])
        return (images / 2 + 0.5).clamp(0, 1)

    return decode
