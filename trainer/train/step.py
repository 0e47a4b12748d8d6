"""The gradients of one optimiser step."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainer.diffusion.loss import training_loss
from trainer.diffusion.schedule import TrainingSchedule
from trainer.model.precision import autocast
from trainer.train.config import TrainConfig
from trainer.train.inputs import ModelInputs
from trainer.train.metrics import LossTable


def accumulate_gradients(
    model: nn.Module,
    schedule: TrainingSchedule,
    micro_batches: Iterable[ModelInputs],
    count: int,
    config: TrainConfig,
    table: LossTable | None = None,
) -> Tensor:
    """Accumulate the gradients of `count` micro-batches; they are averaged over ranks once, with the last one.

    Args:
        model: a `MegActor`, or a wrapper of it.
        schedule: the forward process.
        micro_batches: at least `count` micro-batches.
        count: number of micro-batches of the step.
        config: the run's config.
        table: table to which the losses are added, by timestep and kind of driver.

    Returns:
        This rank's mean loss, a scalar on the device.
    """
    total: Tensor | None = None
    for index, inputs in zip(range(count), micro_batches, strict=False):
        is_last = index == count - 1
        with model.no_sync() if not is_last and isinstance(model, DistributedDataParallel) else nullcontext():
            with autocast(config.precision, inputs.latents_BFCHW.device):
                loss = training_loss(
                    model,
                    schedule,
                    inputs.latents_BFCHW,
                    inputs.conditions,
                    inputs.draws,
                    motion=config.stage != "image",
                    recompute=config.recompute,
                )
            (loss.mean / count).backward()
        if table is not None:
            table.add(loss.samples_B, inputs.draws.timesteps_B, inputs.kinds_B)
        part = loss.mean.detach() / count
        total = part if total is None else total + part
    assert total is not None
    return total
