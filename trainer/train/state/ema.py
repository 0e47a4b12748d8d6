"""Averaged weights, used for sampling and export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """An exponential moving average of the trained parameters.

    The decay grows with the steps, `min(decay, (1 + n) / (10 + n))`, so that early weights soon lose their influence.
    """

    def __init__(self, decay: float, parameters: Mapping[str, nn.Parameter]) -> None:
        self.decay = decay
        self.parameters = dict(parameters)
        self.averages = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the averages with the weights after optimiser step `step` (counted from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(
            list(self.averages.values()), [p.data for p in self.parameters.values()], 1 - decay
        )

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore saved averages."""
        for name, average in self.averages.items():
            average.copy_(tensors[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged weights inside the block. Nothing is copied."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for name, parameter in self.parameters.items():
            parameter.data, self.averages[name] = self.averages[name], parameter.data
