"""Everything that changes while a model trains: weights, optimiser, averages, the step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from datagen.common.errors import UserError
from trainer.model.config import MegActorConfig
from trainer.model.megactor import STAGE_GROUPS, MegActor
from trainer.train.config import TrainConfig
from trainer.train.ranks import Ranks
from trainer.train.state.ema import Ema
from trainer.train.state.optimizer import build_adamw, learning_rate, optimiser_tensors, restore_optimiser


class TrainState:
    """A model in training.

    Attributes:
        model: the model itself.
        forward: the module that is called in training: the model, or DistributedDataParallel around it.
        trained: parameters of the stage's groups, by name; the others take no gradients.
        step: optimiser steps done.
    """

    def __init__(
        self, config: TrainConfig, architecture: MegActorConfig, state: Mapping[str, Tensor], ranks: Ranks
    ) -> None:
        """Build the model with the weights of `state`, which is copied."""
        self.config, self.architecture = config, architecture
        with torch.device("meta"):
            self.model = MegActor(architecture.model)
        copies = {name: tensor.to(ranks.device, torch.float32, copy=True) for name, tensor in state.items()}
        self.model.load_state_dict(copies, assign=True)
        if ranks.device.type == "cuda":
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model.train()
        self.model.train_stage(config.stage)
        groups = self.model.parameter_groups()
        self.trained: dict[str, nn.Parameter] = {
            name: p for group in STAGE_GROUPS[config.stage] for name, p in groups[group].items()
        }
        self.optimiser = build_adamw(config.optimiser, self.trained)
        self.ema = Ema(config.ema, self.trained) if config.ema is not None else None
        self.step = 0
        if config.compile:
            self.model.compile_regions()
        self.forward: nn.Module = self.model
        if ranks.size > 1:
            # As views of the buckets, gradients need no copy and no memory of their own.
            self.forward = DistributedDataParallel(self.model, gradient_as_bucket_view=True)

    def clip(self) -> Tensor:
        """Clip the norm of the gradients; returns the norm before."""
        limit = self.config.optimiser.clip_norm
        return nn.utils.clip_grad_norm_(self.trained.values(), limit if limit is not None else float("inf"))

    def update(self) -> float:
        """Take an optimiser step with the accumulated gradients; returns its learning rate."""
        rate = learning_rate(self.config.optimiser, self.step, self.config.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.ema is not None:
            self.ema.update(self.step)
        self.step += 1
        return rate

    def optimiser_tensors(self) -> dict[str, Tensor]:
        """State of the optimiser, by name."""
        return optimiser_tensors(self.optimiser, self.trained)

    def averages(self) -> dict[str, Tensor]:
        """Averaged weights by name; empty without averaging."""
        return dict(self.ema.averages) if self.ema is not None else {}

    def restore(
        self, step: int, optimiser: Mapping[str, Tensor], averaged: Mapping[str, Tensor] | None
    ) -> list[str]:
        """Restore the state of a checkpoint.

        Args:
            step: steps done.
            optimiser: what `optimiser_tensors` returned.
            averaged: all tensors of the averaged model; None where the checkpoint has none.

        Returns:
            What the user should know.

        Raises:
            UserError: the optimiser's state is of another stage or model.
        """
        self.step = step
        try:
            restore_optimiser(self.optimiser, self.trained, optimiser)
        except ValueError as error:
            raise UserError(f"{error}; a new stage begins with --init and another --output") from error
        if self.ema is None:
            return []
        if averaged is None:
            return ["the checkpoint has no averaged weights; averaging starts with this run"]
        self.ema.load(averaged)
        return []
