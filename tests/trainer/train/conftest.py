from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.data import made
from trainer.data import DataSource
from trainer.train.job import Job, load_config
from trainer.train.ranks import Ranks

CPU = Ranks(0, 1, torch.device("cpu"))
SMALL = [
    "model.model.block_out_channels=[16, 32]",
    "model.model.latent_channels=6",
    "model.vae.latent_channels=6",
    "steps=4",
    "checkpoints.every=2",
    "validation.every=0",
    "threads=1",
]


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of 128 pixels, the last of `val`; not to be changed."""
    folder = tmp_path_factory.mktemp("footage") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "SIZE", 128)  # what the reference branch of the DrivenEncoder needs
        splits = ("train",) * 5 + ("val",)
        made.make_dataset(folder, 6, frames=34, driving=("video",), splits=splits)
    return folder


@pytest.fixture
def job(footage: Path, tmp_path: Path) -> Callable[..., Job]:
    """Makes jobs on the footage: `job("tiny-image", "batch=4", run="a")`."""

    def make(name: str, *assignments: str, run: str = "run", **values: Any) -> Job:
        config = load_config(name, [*SMALL, *assignments])
        return Job(config, (DataSource(path=str(footage)),), tmp_path / run, **values)

    return make


def losses(run: Path) -> dict[int, float]:
    """Loss of every step in a run's log."""
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if "loss" in line}
