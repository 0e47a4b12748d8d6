"""Turns a batch of the loader into inputs of the model. Legend for suffixes as in `trainer.model.layers`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.data import Batch
from trainer.diffusion.draws import Draws, draw
from trainer.latents.encoders import complete, mean_latents, sample_latents
from trainer.latents.frozen import FrozenNetworks
from trainer.model.config import DiffusionConfig
from trainer.model.megactor import Conditions
from trainer.model.vae import LATENT


@dataclass(frozen=True)
class ModelInputs:
    """One micro-batch, ready for `training_loss`.

    Attributes:
        latents_BFCHW: scaled latents of the target.
        conditions: everything else of the clips.
        draws: the step's random numbers.
        kinds_B: the drivers' kinds, numbers in `trainer.data.KINDS`.
    """

    latents_BFCHW: Tensor
    conditions: Conditions
    draws: Draws
    kinds_B: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, to be saved."""
        named = {"latents": self.latents_BFCHW, "kinds": self.kinds_B}
        for part in (self.conditions, self.draws):
            named.update(vars(part))
        return {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}


def draws_of(batch: Batch, config: DiffusionConfig, channels: int, *, seed: int, step: int) -> Draws:
    """The random numbers of a batch, which depend on (seed, step, slot in the global order) only."""
    frames, height, width = batch.driver_BF1HW.shape[1], *batch.driver_BF1HW.shape[3:]
    shape = (frames, channels, height // LATENT, width // LATENT)
    return draw(config, shape, seed=seed, step=step, slots=batch.slots_B.tolist())


def prepare(batch: Batch, draws: Draws, frozen: FrozenNetworks, device: torch.device) -> ModelInputs:
    """Move to the device, encode what is not precomputed, scale pixels to [0, 1]."""
    batch = complete(batch.to(device), frozen.encoders)
    draws = draws.map(lambda tensor: tensor.to(device, non_blocking=True))
    moments, reference_moments, tokens = (
        batch.target_moments_BFChw,
        batch.reference_moments_BChw,
        batch.tokens_BTD,
    )
    assert moments is not None and reference_moments is not None and tokens is not None
    scale = frozen.scaling_factor
    conditions = Conditions.from_pixels(
        batch.driver_BF1HW,
        batch.reference_B3HW,
        batch.background_B1HW,
        sample_latents(reference_moments, draws.reference_eps_BCHW, scale),
        mean_latents(reference_moments, scale),
        tokens,
    )
    latents = sample_latents(moments, draws.target_eps_BFCHW, scale)
    return ModelInputs(latents, conditions, draws, batch.kinds_B)
