from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.train.runs import SMALL
from trainer.data import DataSource
from trainer.train.job import Job, load_config


@pytest.fixture
def job(footage: Path, tmp_path: Path) -> Callable[..., Job]:
    """Makes jobs on the footage: `job("tiny-image", "batch=4", run="a")`."""

    def make(name: str, *assignments: str, run: str = "run", **values: Any) -> Job:
        config = load_config(name, [*SMALL, *assignments])
        return Job(config, (DataSource(path=str(footage)),), tmp_path / run, **values)

    return make
