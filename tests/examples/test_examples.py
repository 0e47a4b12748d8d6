"""Every example runs and makes the files that it names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
MADE = {
    "01_make_a_data_set": ("set/sheet.png",),
    "02_own_swapper": ("own-swapper/sheet.png",),
    "03_picture_grid": ("grid.png",),
    "04_query_and_export": ("failures.csv",),
    "05_train_a_tiny_model": ("training/checkpoints",),
}
SAID = {
    "02_own_swapper": "swapped by 'paste'",
    "03_picture_grid": "2 clips",
    "04_query_and_export": "24 frames of astronaut.mp4",
    "05_train_a_tiny_model": "finished=True",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working directory of all examples, which share one small data set."""
    return tmp_path_factory.mktemp("examples")


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("[0-9]*.py")} == set(MADE)


@pytest.mark.parametrize("name", MADE)
def test_an_example(name: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        text=True, capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert SAID.get(name, "look at") in done.stdout
    for made in MADE[name]:
        assert (folder / "out" / "examples" / made).exists()
