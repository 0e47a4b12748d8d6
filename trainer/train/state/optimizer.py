"""AdamW over named parameters, and the learning rate as a function of the step (so that it needs no state)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainer.train.config import Optimiser

MOMENTS = ("exp_avg", "exp_avg_sq")


def build_adamw(config: Optimiser, parameters: Mapping[str, nn.Parameter]) -> torch.optim.AdamW:
    """Fused AdamW; norms and biases have no weight decay."""
    decayed = [p for p in parameters.values() if p.ndim > 1]
    others = [p for p in parameters.values() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        fused=True,
    )


def learning_rate(config: Optimiser, step: int, steps: int) -> float:
    """Rate of a step (counted from 0) in a run of `steps`."""
    warm = min(1.0, (step + 1) / (config.warmup_steps + 1))
    done = min(1.0, max(0.0, (step - config.warmup_steps) / max(1, steps - config.warmup_steps)))
    left = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[
        config.schedule
    ]
    if config.schedule != "constant":
        left = config.final_rate + (1 - config.final_rate) * left
    return config.learning_rate * warm * left


def optimiser_tensors(
    optimiser: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """The optimiser's state by `moment.parameter`; empty before its first step."""
    return {
        f"{key}.{name}": value
        for name, parameter in parameters.items()
        for key, value in optimiser.state.get(parameter, {}).items()
    }


@torch.no_grad()
def restore_optimiser(
    optimiser: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Restore what `optimiser_tensors` returned.

    Raises:
        ValueError: moments are missing, or belong to other parameters.
    """
    known = {f"{key}.{name}" for key in (*MOMENTS, "step") for name in parameters} if tensors else set()
    if wrong := known ^ tensors.keys():
        raise ValueError(
            f"the optimiser's state is of other parameters: {len(wrong)} differ, such as {min(wrong)}"
        )
    for name, parameter in parameters.items() if tensors else ():
        state = {"step": tensors[f"step.{name}"].to(parameter.device, copy=True)}
        for key in MOMENTS:  # with the parameter's memory layout, as the fused update requires
            state[key] = torch.empty_like(parameter).copy_(tensors[f"{key}.{name}"])
        optimiser.state[parameter] = state
