"""Talking heads as frames and files, and a way to curate one file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from datagen.curate.source import CARRIED, curate_source
from datagen.faces import FaceAnalyser
from datagen.media import encode
from datagen.recipe import load_recipe
from datagen.sources.files import SourceFiles
from tests.support import head

SIDE, FRAMES = 192, 36
Curated = tuple[list[dict[str, Any]], list[dict[str, Any]]]
SMALL = ["curate.size=128", "curate.min_frames=12", "curate.max_frames=40", "curate.max_upscale=3"]


@pytest.fixture(scope="session")
def talking() -> np.ndarray:
    """(FRAMES, SIDE, SIDE, 3) frames of one head."""
    frames = [cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in head(0, FRAMES, 0)]
    return np.array(frames)


@pytest.fixture(scope="session")
def plain(talking: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The head as a file of 25 frames per second."""
    path = tmp_path_factory.mktemp("plain") / "plain.mp4"
    encode(talking, 25.0, path, crf=12)
    return path


@pytest.fixture
def curate(analyser: FaceAnalyser, tmp_path: Path) -> Callable[..., Curated]:
    """Clip rows and failure rows of one file."""

    def run(path: Path, *settings: str) -> Curated:
        row: dict[str, Any] = dict.fromkeys((*CARRIED, "part"), "x")
        row |= {"root": "x", "path": os.fsencode(path.name), "member": "", "name": "x"}
        files = SourceFiles({"x": path.parent})
        return curate_source(row, load_recipe(None, [*SMALL, *settings]), analyser, tmp_path, {}, files)

    return run
