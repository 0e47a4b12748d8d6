"""The ReferenceNet."""

from dataclasses import replace

import torch

from tests.trainer.model.models import SMALL, build, make_inputs
from trainer.model.megactor import MegActor


@torch.no_grad()
def test_a_fixed_reference_timestep_makes_features_independent_of_the_step() -> None:
    _, _, conditions = make_inputs(1)

    def change(model: MegActor) -> float:
        early, late = (
            model.reference_features(conditions.reference_mean_BCHW, torch.tensor([t]), conditions.tokens_BTD)
            for t in (1, 900)
        )
        return float((early.mid_BLC - late.mid_BLC).abs().max())

    assert change(build()) > 0
    assert change(build(replace(SMALL, reference_timestep=0))) == 0
