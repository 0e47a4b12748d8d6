from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from datagen.output.paths import Output
from tests.trainer.data.made import make_dataset


@pytest.fixture(scope="session")
def shared_dataset(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """Seven clips of all streams and drivers, in three shards; not to be changed."""
    return make_dataset(
        tmp_path_factory.mktemp("shared") / "out",
        7,
        frames=[40, 33, 64, 40, 35, 50, 40],
        driving=("video", "swapped", "styled"),
    )


@pytest.fixture
def dataset(shared_dataset: Output, tmp_path: Path) -> Output:
    """A copy of it."""
    shutil.copytree(shared_dataset.root, tmp_path / "out")
    return Output(tmp_path / "out")
