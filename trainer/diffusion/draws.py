"""The random numbers of a training step, which do not depend on how samples are distributed over ranks.

Every sample of a global batch has a slot. Its random numbers depend on (seed, step, slot) only: all ranks draw
different numbers, and two ranks with one sample each draw the same numbers as one rank with both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from trainer.diffusion.schedule import TRAIN_TIMESTEPS
from trainer.model.config import DiffusionConfig


@dataclass(frozen=True)
class Draws:
    """Random numbers of one batch. Shape suffixes as in `trainer.model.layers`.

    Attributes:
        timesteps_B: int64, uniform in 0..999.
        noise_BFCHW: noise of the target latents, offset noise included.
        dropped_B: true for samples that ignore the reference features.
        target_eps_BFCHW: noise for VAE posterior samples of the target frames.
        reference_eps_BCHW: noise for VAE posterior samples of the references.
    """

    timesteps_B: Tensor
    noise_BFCHW: Tensor
    dropped_B: Tensor
    target_eps_BFCHW: Tensor
    reference_eps_BCHW: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> Draws:
        """The draws with `function` applied to each tensor, for example to move them to a device."""
        return Draws(*(function(getattr(self, f.name)) for f in fields(self)))


def draw(
    config: DiffusionConfig, shape_FCHW: Sequence[int], *, seed: int, step: int, slots: Sequence[int]
) -> Draws:
    """The draws of the samples at `slots` of the global batch of `step`; latents have `shape_FCHW`."""
    samples = [_one(config, tuple(shape_FCHW), (seed, step, slot)) for slot in slots]
    return Draws(*(torch.stack(column) for column in zip(*samples, strict=True)))


def offset_noise(noise_BFCHW: Tensor, offset_BC: Tensor, strength: float) -> Tensor:
    """Add offset noise, constant over frames and pixels, with which the model can learn the mean brightness."""
    return noise_BFCHW + strength * offset_BC[:, None, :, None, None]


def _one(
    config: DiffusionConfig, shape_FCHW: tuple[int, ...], key: tuple[int, int, int]
) -> tuple[Tensor, ...]:
    rng = np.random.default_rng(key)

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(shape, np.float32))

    # All numbers are drawn whatever the config: changing one option does not change the other numbers.
    timestep = torch.tensor(int(rng.integers(TRAIN_TIMESTEPS)))
    dropped = torch.tensor(bool(rng.random() < config.reference_dropout))
    noise, offset = normal(*shape_FCHW), normal(shape_FCHW[1])
    noise = offset_noise(noise[None], offset[None], config.noise_offset)[0]
    return timestep, noise, dropped, normal(*shape_FCHW), normal(*shape_FCHW[1:])
