"""Identity of a swapped clip: distances of its embeddings to the source and to the donor.

Shapes: `F` frames, `H` height, `W` width, `C` channels or coordinates, `N` landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from datagen.common.errors import Refusal
from datagen.faces.types import Faces


class Identifier(Protocol):
    """The part of a face analyser that `identity` needs."""

    def embed(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray:
        """Embedding (D,) of the face with these landmarks."""


@dataclass(frozen=True)
class Identity:
    """Mean Euclidean distances between identity embeddings.

    Attributes:
        to_source: distance from swapped frames to the same frames of the source.
        to_donor: distance from swapped frames to the donor.
        closer: share of frames closer to the donor than to the source.
    """

    to_source: float
    to_donor: float
    closer: float


def identity(
    source_FHWC: np.ndarray,
    source_faces: Faces,
    swapped_FHWC: np.ndarray,
    swapped_faces: Faces,
    donor_embedding: np.ndarray,
    analyser: Identifier,
    frames: int = 5,
) -> Identity:
    """Identity of a swapped clip, measured on `frames` evenly spread frames in which both streams show a face.

    Raises:
        Refusal: `no_face`, there is no such frame.
    """
    both = np.flatnonzero(source_faces.seen & swapped_faces.seen)
    if len(both) == 0:
        raise Refusal("no_face", "the swapped clip shows no face")
    positions = np.linspace(0, len(both) - 1, min(frames, len(both))).round().astype(int)
    to_source, to_donor = [], []
    for index in both[positions]:
        swapped = analyser.embed(swapped_FHWC[index], swapped_faces.landmarks[index])
        source = analyser.embed(source_FHWC[index], source_faces.landmarks[index])
        to_source.append(float(np.linalg.norm(swapped - source)))
        to_donor.append(float(np.linalg.norm(swapped - donor_embedding)))
    closer = float(np.mean(np.less(to_donor, to_source)))
    return Identity(float(np.mean(to_source)), float(np.mean(to_donor)), closer)
