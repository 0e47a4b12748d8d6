"""The optimiser and its learning rate."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.train.config import Optimiser
from trainer.train.state.optimizer import build_adamw, learning_rate, optimiser_tensors, restore_optimiser


def test_learning_rate_warms_up_and_falls() -> None:
    config = Optimiser(learning_rate=1.0, warmup_steps=9, schedule="cosine", final_rate=0.1)
    rates = [learning_rate(config, step, 109) for step in range(110)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0)
    assert rates[59] == pytest.approx(0.55) and rates[109] == pytest.approx(0.1)
    constant = Optimiser(learning_rate=1.0, warmup_steps=0)
    assert learning_rate(constant, 0, 10) == learning_rate(constant, 10, 10) == 1


def test_an_optimiser_is_restored_and_refuses_the_state_of_other_parameters() -> None:
    def stepped() -> tuple[dict[str, nn.Parameter], torch.optim.AdamW]:
        torch.manual_seed(0)
        parameters = {"a": nn.Parameter(torch.randn(3, 2)), "b": nn.Parameter(torch.randn(3))}
        return parameters, build_adamw(Optimiser(learning_rate=0.1), parameters)

    parameters, optimiser = stepped()
    assert optimiser_tensors(optimiser, parameters) == {}
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    saved = optimiser_tensors(optimiser, parameters)
    fresh, other = stepped()
    restore_optimiser(other, fresh, saved)
    again = optimiser_tensors(other, fresh)
    assert saved.keys() == again.keys() and all(torch.equal(saved[name], again[name]) for name in saved)
    with pytest.raises(ValueError, match="of other parameters"):
        restore_optimiser(other, {"a": fresh["a"]}, saved)
