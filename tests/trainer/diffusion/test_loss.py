"""The training loss."""

from dataclasses import replace

import pytest
import torch

from tests.trainer.model.models import SMALL, build, make_inputs
from trainer.diffusion.draws import draw
from trainer.diffusion.loss import training_loss
from trainer.diffusion.schedule import TrainingSchedule
from trainer.model.config import DEFAULT


@pytest.mark.parametrize("stage", ["image", "video", "joint"])
def test_training_lowers_the_loss(stage: str) -> None:
    model = build(replace(SMALL, reference_size=None))
    optimiser = torch.optim.AdamW(model.train_stage(stage), lr=2e-3)
    frames = 1 if stage == "image" else 3
    latents, _, conditions = make_inputs(2, frames=frames)
    schedule = TrainingSchedule(DEFAULT.diffusion)
    losses = []
    for _ in range(4):
        draws = draw(DEFAULT.diffusion, latents.shape[1:], seed=0, step=0, slots=[0, 1])
        loss = training_loss(model, schedule, latents, conditions, draws, motion=stage != "image")
        losses.append(loss.mean.item())
        optimiser.zero_grad()
        loss.mean.backward()
        optimiser.step()
    assert losses[-1] < losses[0]


def test_the_gradient_of_two_workers_is_that_of_one() -> None:
    model = build().double()
    schedule = TrainingSchedule(DEFAULT.diffusion)
    latents, _, conditions = make_inputs(2)

    def gradient(rows: list[int]) -> list[torch.Tensor]:
        draws = draw(DEFAULT.diffusion, latents.shape[1:], seed=3, step=1, slots=rows)
        draws = draws.map(lambda t: t.double() if t.is_floating_point() else t)
        model.zero_grad()
        training_loss(
            model, schedule, latents[rows].double(), conditions.map(lambda t: t[rows].double()), draws
        ).mean.backward()
        return [p.grad.clone() for p in model.parameters()]

    for whole, first, second in zip(gradient([0, 1]), gradient([0]), gradient([1]), strict=True):
        torch.testing.assert_close((first + second) / 2, whole, rtol=1e-5, atol=1e-9)
