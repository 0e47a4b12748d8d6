"""Estimated cost of a run."""

from __future__ import annotations

import pytest

from tests.trainer.train.runs import MakeJob
from trainer.model.megactor import MegActor
from trainer.train.cost import estimate, start_table


def test_start_table_tells_the_groups_and_the_memory(job: MakeJob) -> None:
    config = job("tiny-video").config
    architecture = config.model.resolve(None)
    cost = estimate(config, architecture, 128)
    model = MegActor(architecture.model)
    trained = sum(p.numel() for p in model.train_stage("video"))
    everything = sum(p.numel() for p in model.parameters())
    assert cost.groups["motion_modules"] == (trained, True)
    assert cost.state_gb == pytest.approx(4 * (everything + 4 * trained) / 1e9)
    assert 0 < cost.activations_gb < 1
    recomputed = estimate(config.model_copy(update={"recompute": True}), architecture, 128)
    assert recomputed.activations_gb < cost.activations_gb
    table = start_table(cost, config, architecture, 1, 5)
    assert "motion_modules" in table and "frozen" in table and "TFLOP" in table and "GB a worker" in table
