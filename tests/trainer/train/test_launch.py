"""Ray starts the same loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from datagen.errors import UserError
from train.conftest import CPU, losses
from train.runs import silent
from trainer.train.job import Job
from trainer.train.loop import train

MakeJob = Callable[..., Job]
ray = pytest.importorskip("ray")


def test_two_ray_workers_train_as_one_process_does(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.train.launch import train_on_ray

    alone = job("tiny-image", "steps=2", run="alone")
    train(alone, CPU, silent)
    root = Path(__file__).parents[3]
    monkeypatch.setenv("PYTHONPATH", str(root))  # the workers' working directory is another
    shared = job("tiny-image", "steps=2", run="shared")
    ray.init(num_cpus=3, include_dashboard=False)
    try:
        train_on_ray(shared, 2, None)
        with pytest.raises(UserError, match="--resume goes on from there"):
            train_on_ray(shared, 2, None)
        with pytest.raises(UserError, match="cannot be continued"):
            changed = shared.config.model_copy(update={"seed": 1, "steps": 3})
            train_on_ray(replace(shared, config=changed, resume=True), 2, None)
    finally:
        ray.shutdown()
    assert losses(shared.output) == pytest.approx(losses(alone.output), rel=1e-5)
