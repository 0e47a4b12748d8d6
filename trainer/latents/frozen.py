"""The frozen networks: they turn pixels into latents and tokens, and latents into pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from datagen.common.errors import UserError
from trainer.data.stored_latents import Settings
from trainer.latents.cosine_codec import CosineCodec
from trainer.latents.encoders import Encoders
from trainer.latents.load import load_clip, load_vae, module_hash
from trainer.model.config import MegActorConfig
from trainer.model.image_encoder import ImageEncoder, freeze
from trainer.model.vae import LATENT, build_vae, decode


@dataclass(frozen=True)
class FrozenNetworks:
    """Encoders and decoder; those that a run does not need may be missing.

    Attributes:
        encoders: functions from pixels to moments and tokens.
        scaling_factor: latents are the VAE's latents times this.
        decode: function from scaled latents (N, C, h, w) to images in [0, 1]; None without a VAE.
        missing: networks that must be given before pixels can be encoded.
    """

    encoders: Encoders
    scaling_factor: float
    decode: Callable[[Tensor], Tensor] | None
    missing: tuple[str, ...] = ()

    @property
    def networks(self) -> tuple[str, str] | None:
        """Hashes of VAE and image encoder, where both are known."""
        return (self.encoders.vae, self.encoders.clip) if not self.missing else None

    def check(self, stored: Settings | None) -> None:
        """Check that there is a network for everything that the data does not hold precomputed.

        Args:
            stored: settings of the precomputed latents, where the data has them.

        Raises:
            UserError: a network is missing, or is not the one that the latents were made with.
        """
        if stored is None and self.missing:
            raise UserError(f"latents and tokens are not precomputed; {' and '.join(self.missing)}")
        for ours, theirs in (
            (self.encoders.vae, stored and stored.vae),
            (self.encoders.clip, stored and stored.clip),
        ):
            if ours and theirs and ours != theirs:
                raise UserError(
                    f"a network of hash {ours} is given, but the latents were precomputed with {theirs}; "
                    f"give the same network, or none"
                )


def load_frozen(
    codec: str,
    image_encoder: str | None,
    model: MegActorConfig,
    device: torch.device,
    own_vae: Path | None,
) -> FrozenNetworks:
    """Build the frozen networks that a run's config names.

    Args:
        codec: `vae` for the checkpoint's own, `cosine`, `random` (an untrained VAE), or a VAE's folder.
        image_encoder: `random` (untrained), a CLIP vision model's folder, or None for none.
        model: config of the model that uses them.
        device: the device of the networks.
        own_vae: folder of the VAE that came with the model's checkpoint.

    Raises:
        UserError: a folder does not hold what it should.
    """
    tokens, clip_hash = _image_encoder(image_encoder, model, device)
    missing = [] if clip_hash else ["give the CLIP vision model with --set image_encoder=DIR"]
    if codec == "cosine":
        try:
            cosine = CosineCodec.build(model.model.latent_channels, device)
        except ValueError as error:
            raise UserError(str(error), code=2) from error
        encoders = Encoders(cosine.moments, tokens, device, vae="cosine", clip=clip_hash)
        return FrozenNetworks(encoders, 1.0, cosine.decode, tuple(missing))
    vae = _vae(codec, model, own_vae)
    if vae is None:
        missing.append("give the VAE with --set codec=DIR, since the checkpoint has none")
        encoders = Encoders(_refuse, tokens, device, clip=clip_hash)
        return FrozenNetworks(encoders, model.vae.scaling_factor, None, tuple(missing))
    _check_equal("VAE", "latent channels", vae.config["latent_channels"], model.model.latent_channels)
    _check_equal("VAE", "pixels to a latent pixel", 2 ** (len(vae.config["block_out_channels"]) - 1), LATENT)
    freeze(vae).to(device)
    encoders = Encoders(
        lambda images: vae.encode(images).latent_dist.parameters,
        tokens,
        device,
        vae=module_hash(vae),
        clip=clip_hash,
    )
    return FrozenNetworks(encoders, float(vae.config["scaling_factor"]), partial(decode, vae), tuple(missing))


def _vae(codec: str, model: MegActorConfig, own: Path | None) -> Any:
    """The VAE that `codec` names (diffusers' models have no types), None where there is none."""
    if codec == "random":
        return random_vae(model)
    folder = own if codec == "vae" else Path(codec)
    return None if folder is None else load_vae(folder)


def _image_encoder(
    name: str | None, model: MegActorConfig, device: torch.device
) -> tuple[Callable[[Tensor], Tensor], str]:
    """Pixels to tokens, and the network's hash, empty where there is none."""
    if name is None:
        return _refuse, ""
    encoder = random_image_encoder(model) if name == "random" else load_clip(Path(name))
    _check_equal("CLIP model", "token width", encoder.config.projection_dim, model.model.cross_attention_dim)
    _check_equal("CLIP model", "image size", encoder.config.image_size, model.image_encoder.image_size)
    freeze(encoder).to(device)
    return encoder.tokens, module_hash(encoder)


def _check_equal(network: str, what: str, theirs: object, ours: int) -> None:
    """Check a number that a network and the model must share."""
    if theirs != ours:
        raise UserError(
            f"the {network} has {what} {theirs}, the model takes {ours}; give another network, or change the "
            f"config's `model`"
        )


def _refuse(images: Tensor) -> Tensor:
    """Takes the place of a missing network; `FrozenNetworks.check` ensures that it is never called."""
    raise UserError("the run has no such network")


def random_vae(model: MegActorConfig) -> AutoencoderKL:
    """An untrained VAE, always with the same weights; it suffices for measuring speed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_vae(model.vae)


def random_image_encoder(model: MegActorConfig) -> ImageEncoder:
    """An untrained image encoder, always with the same weights, so that checkpoints need not hold it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ImageEncoder(model.image_encoder)
