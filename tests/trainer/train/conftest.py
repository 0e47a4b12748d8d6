"""Jobs of the trainer's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trainer.train.runs import MakeJob, make_job
from trainer.train.job import Job


@pytest.fixture
def job(footage: Path, tmp_path: Path) -> MakeJob:
    """Makes jobs on the footage: `job("tiny-image", "batch=4", run="a")`."""

    def make(name: str, *assignments: str, run: str = "run", **values: Any) -> Job:
        return make_job(footage, tmp_path / run, name, *assignments, **values)

    return make
