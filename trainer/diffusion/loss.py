"""The loss of a training step. Shape suffixes as in `trainer.model.layers`."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from trainer.diffusion.draws import Draws
from trainer.diffusion.schedule import TrainingSchedule
from trainer.model.megactor import Conditions


@dataclass(frozen=True)
class Loss:
    """`mean` is minimised; `samples_B`, the unweighted loss of each sample without gradients, is for the logs."""

    mean: Tensor
    samples_B: Tensor


def training_loss(
    model: nn.Module,
    schedule: TrainingSchedule,
    latents_BFCHW: Tensor,
    conditions: Conditions,
    draws: Draws,
    *,
    motion: bool = True,
    recompute: bool = False,
) -> Loss:
    """Add noise to the latents, predict, and take the squared error.

    Args:
        model: a `MegActor`, or a wrapper with the same `forward` (DDP, compiled).
        schedule: the forward process.
        latents_BFCHW: scaled latents of the target frames.
        conditions: the other inputs.
        draws: the random numbers of the step.
        motion: whether the motion modules run; off in the image stage.
        recompute: activation checkpointing: less memory, more time, the same gradients.
    """
    noisy = schedule.add_noise(latents_BFCHW, draws.noise_BFCHW, draws.timesteps_B)
    target = schedule.target(latents_BFCHW, draws.noise_BFCHW, draws.timesteps_B)
    prediction = model(noisy, draws.timesteps_B, conditions, draws.dropped_B, motion, recompute)
    samples_B = (prediction.float() - target.float()).square().flatten(1).mean(1)
    return Loss((schedule.weights(draws.timesteps_B) * samples_B).mean(), samples_B.detach())
