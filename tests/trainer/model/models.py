"""A small model and inputs for it."""

from __future__ import annotations

import torch

from trainer.model.config import ModelConfig
from trainer.model.megactor import Conditions, MegActor

SMALL = ModelConfig(block_out_channels=(32, 64), cross_attention_dim=16, reference_size=None)


def build(config: ModelConfig = SMALL) -> MegActor:
    """A small model with random values in its zero-initialised layers too, so that every part has an effect."""
    torch.manual_seed(0)
    model = MegActor(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.08)
    return model


def make_inputs(clips: int = 2, frames: int = 3, size: int = 8, seed: int = 0):
    """Noisy latents, timesteps, conditions."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=rng)

    conditions = Conditions(
        driving_BF3HW=torch.rand(clips, frames, 3, 8 * size, 8 * size, generator=rng),
        reference_B3HW=torch.rand(clips, 3, 128, 128, generator=rng),
        reference_sample_BCHW=normal(clips, 4, size, size),
        reference_mean_BCHW=normal(clips, 4, size, size),
        background_B1HW=(normal(clips, 1, size, size) > 0).float(),
        tokens_BTD=normal(clips, 5, 16),
    )
    return normal(clips, frames, 4, size, size), torch.arange(clips) * 300 + 50, conditions
