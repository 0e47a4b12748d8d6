"""All random generators of a process, as tensors that can be saved and restored.

The training step draws from none of them (its numbers are keyed, see `trainer.diffusion.draws`). They are saved so
that any other code that draws from them continues as if the run had never stopped.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from datagen.common.seeding import seed_of


def seed_all(seed: int, step: int, rank: int) -> None:
    """Seed all generators, differently on every rank."""
    value = seed_of(seed, "process", step, rank) % 2**32
    random.seed(value)
    np.random.seed(value)  # third-party code may use the global generator
    torch.manual_seed(value)


def capture(device: torch.device) -> dict[str, Tensor]:
    """State of the generators of Python, NumPy, torch, and torch on the device."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    state = {
        "python": torch.tensor([version, *words]),
        "python_gauss": torch.tensor([gauss is not None, gauss or 0.0], dtype=torch.float64),
        "numpy": torch.from_numpy(np.asarray([*keys, position, has_gauss], np.int64)),
        "numpy_gauss": torch.tensor([cached], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Restore a state that `capture` returned."""
    version, *words = state["python"].tolist()
    has_gauss, gauss = state["python_gauss"].tolist()
    random.setstate((version, tuple(words), gauss if has_gauss else None))
    *keys, position, has_cached = state["numpy"].tolist()
    cached = state["numpy_gauss"].item()
    np.random.set_state(("MT19937", np.asarray(keys, np.uint32), position, has_cached, cached))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


@contextmanager
def preserved(device: torch.device) -> Iterator[None]:
    """Restore all generators after the block to their state before it."""
    before = capture(device)
    try:
        yield
    finally:
        restore(before, device)
