"""Random generators."""

from __future__ import annotations

import random

import numpy as np
import torch

from tests.trainer.train.runs import CPU
from trainer.train.state import rng


def test_generators_are_restored() -> None:
    rng.seed_all(1, 2, 3)
    random.gauss(0, 1), np.random.standard_normal()  # both generators then hold a spare number
    state = rng.capture(CPU.device)
    drawn = [(random.gauss(0, 1), np.random.standard_normal(), torch.rand(2).tolist()) for _ in range(2)]
    rng.restore(state, CPU.device)
    again = [(random.gauss(0, 1), np.random.standard_normal(), torch.rand(2).tolist()) for _ in range(2)]
    assert drawn == again
