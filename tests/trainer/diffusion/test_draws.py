"""Random draws of a training step."""

from dataclasses import replace

import pytest
import torch

from trainer.diffusion.draws import draw
from trainer.model.config import DEFAULT


def test_draws_depend_on_slots_not_on_workers() -> None:
    config = replace(DEFAULT.diffusion, noise_offset=0.1)
    together = draw(config, (2, 4, 3, 3), seed=7, step=5, slots=[0, 1, 2])
    apart = draw(config, (2, 4, 3, 3), seed=7, step=5, slots=[2])
    for name, values in vars(apart).items():
        assert torch.equal(getattr(together, name)[2:], values)
    other_step = draw(config, (2, 4, 3, 3), seed=7, step=6, slots=[2])
    assert not torch.equal(apart.noise_BFCHW, other_step.noise_BFCHW)
    assert not torch.equal(together.noise_BFCHW[0], together.noise_BFCHW[1])


def test_draws_have_the_stated_distribution() -> None:
    config = replace(DEFAULT.diffusion, reference_dropout=0.25)
    draws = draw(config, (1, 4, 2, 2), seed=0, step=0, slots=range(2000))
    assert draws.dropped_B.float().mean() == pytest.approx(0.25, abs=0.03)
    assert draws.timesteps_B.float().mean() == pytest.approx(499.5, abs=25)
    assert draws.timesteps_B.min() >= 0 and draws.timesteps_B.max() <= 999
    assert draws.noise_BFCHW.std() == pytest.approx(1, abs=0.03)
