"""Averaged weights."""

from __future__ import annotations

import torch
from torch import nn

from trainer.train.state.ema import Ema


def test_averages_follow_the_weights_and_are_swapped_in_place() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    ema = Ema(0.5, {"p": parameter})
    parameter.data += 10
    ema.update(step=0)  # decay 1 / 10 at the start
    assert torch.allclose(ema.averages["p"], torch.full((2,), 9.0))
    own = parameter.data_ptr()
    with ema.applied():
        assert parameter[0] == 9
    assert parameter.data_ptr() == own and parameter[0] == 10
