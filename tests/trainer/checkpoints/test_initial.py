"""Initial weights."""

from __future__ import annotations

import torch

from tests.trainer.checkpoints.made import SIZES, equal
from trainer.checkpoints.initial import initial_state
from trainer.model.state_dict import is_driven, is_motion


def test_initialisation_depends_on_the_seed_alone(layout: dict[str, tuple[int, ...]]) -> None:
    names = [name for name in layout if is_driven(name) or is_motion(name)]
    before = torch.random.get_rng_state()
    first = initial_state(SIZES, names, 1)
    assert equal(first, initial_state(SIZES, names, 1)) and first.keys() == set(names)
    alone = initial_state(SIZES, [name for name in names if is_motion(name)], 1)
    assert equal(alone, {name: first[name] for name in alone})
    assert not equal(first, initial_state(SIZES, names, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
