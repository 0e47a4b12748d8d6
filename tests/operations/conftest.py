"""A short clip with known motion, made of scikit-image's astronaut, and a donor from matplotlib's sample data."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import matplotlib.cbook
import numpy as np
import pytest
import skimage.data

from datagen.donors.donor import Donor, check_portrait
from datagen.faces import FaceAnalyser, Faces

SIDE = 320


@dataclass(frozen=True)
class Clip:
    """Frames (F, H, W, 3) and the face in them."""

    frames: np.ndarray
    faces: Faces


@pytest.fixture(scope="session")
def analyser() -> FaceAnalyser:
    cv2.setNumThreads(1)
    return FaceAnalyser()


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """Face of about 180 px in the middle of a SIDE px square."""
    matrix = np.array([[1.8, 0, 160 - 1.8 * 224], [0, 1.8, 165 - 1.8 * 120]])
    return cv2.warpAffine(skimage.data.astronaut(), matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)


@pytest.fixture(scope="session")
def hopper() -> np.ndarray:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        data = np.frombuffer(file.read(), np.uint8)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="session")
def donor(hopper: np.ndarray, analyser: FaceAnalyser) -> Donor:
    return check_portrait(hopper, analyser, name="hopper")


@pytest.fixture(scope="session")
def clip(astronaut: np.ndarray, analyser: FaceAnalyser) -> Clip:
    """Eight frames in which the head sways by a few pixels and degrees."""
    frames = []
    for index in range(8):
        sway = np.sin(index / 2)
        matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), 5 * sway, 1)
        matrix[:, 2] += 4 * sway, 2 * sway
        frames.append(cv2.warpAffine(astronaut, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT))
    stacked = np.stack(frames)
    return Clip(stacked, analyser.track(stacked))
