"""Who trains along: the ranks of `torch.distributed`, or this process alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """This process among its equals; without a process group it is alone."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def current(cls, device: torch.device | str) -> Ranks:
        """The process group as it was set up, if it was."""
        device = torch.device(device)
        if not (dist.is_available() and dist.is_initialized()):
            return cls(0, 1, device)
        return cls(dist.get_rank(), dist.get_world_size(), device)

    @property
    def is_main(self) -> bool:
        """Whether this rank writes and speaks."""
        return self.rank == 0

    def sums(self, values: Sequence[float]) -> list[float]:
        """Numbers summed over all ranks; every rank gets them."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """A tensor of every rank, all of one shape, on the CPU."""
        if self.size == 1:
            return [tensor.cpu()]
        tensors = [torch.empty_like(tensor, device=self.device) for _ in range(self.size)]
        dist.all_gather(tensors, tensor.to(self.device))
        return [gathered.cpu() for gathered in tensors]

    def wait(self) -> None:
        """Return when all ranks have come here."""
        self.sums([0.0])
