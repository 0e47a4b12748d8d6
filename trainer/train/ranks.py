"""The ranks that train together: those of `torch.distributed`, or this process alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """Rank, world size and device of this process; without a process group, rank 0 of 1."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def current(cls, device: torch.device | str) -> Ranks:
        """Rank and world size of the process group, if one was initialised."""
        device = torch.device(device)
        if not (dist.is_available() and dist.is_initialized()):
            return cls(0, 1, device)
        return cls(dist.get_rank(), dist.get_world_size(), device)

    @property
    def is_main(self) -> bool:
        """Whether this rank writes files and prints."""
        return self.rank == 0

    def sums(self, values: Sequence[float]) -> list[float]:
        """Values summed over all ranks; every rank gets the sums."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all ranks, which must have one shape, on the CPU."""
        if self.size == 1:
            return [tensor.cpu()]
        tensors = [torch.empty_like(tensor, device=self.device) for _ in range(self.size)]
        dist.all_gather(tensors, tensor.to(self.device))
        return [gathered.cpu() for gathered in tensors]

    def wait(self) -> None:
        """Return when all ranks have called this."""
        self.sums([0.0])
