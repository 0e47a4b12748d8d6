"""Candidate portraits, from a folder or bundled: each is measured; unsuitable ones get a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from datagen.bundled.portraits import portraits
from datagen.common.errors import Refusal
from datagen.common.hashing import pixels_sha256
from datagen.common.text import shown
from datagen.donors.donor import Donor, check_portrait
from datagen.faces.mediapipe.analyser import FaceAnalyser
from datagen.imaging.files import folder_licences, image_files, image_sha256, read_image
from datagen.output.schema import Row
from datagen.recipe import Recipe


@dataclass(frozen=True)
class Candidate:
    """A portrait that may become a donor.

    Attributes:
        origin: `donors` (a folder) or `bundled`.
        sha256: returns the hash that tombstones use for it.
        read: returns its pixels (H, W, 3).

    Both raise `Refusal` if the picture cannot be read.
    """

    name: str
    origin: str
    licence: str
    sha256: Callable[[], str]
    read: Callable[[], np.ndarray]


def measured_portraits(donors: Path | None, recipe: Recipe, analyser: FaceAnalyser) -> list[Row]:
    """Pool rows without split of the portraits of `--donors`, or else of the bundled ones."""
    found = _bundled(recipe) if donors is None else _of_folder(donors)
    return [_measured(candidate, recipe, analyser) for candidate in found]


def donor_columns(donor: Donor) -> Row:
    """Pool columns of a usable portrait."""
    done, data = cv2.imencode(".png", cv2.cvtColor(donor.image, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError("a portrait could not be encoded")
    return {
        "score": donor.score,
        "embedding": donor.embedding.tolist(),
        "landmarks": donor.landmarks.astype(np.float32).ravel().tolist(),
        "colour": donor.colour,
        "image": data.tobytes(),
        "reason": None,
    }


def refusal_columns(refusal: Refusal) -> Row:
    """Pool columns that say why a portrait was refused."""
    return {
        "image": None,
        "reason": refusal.reason,
        "message": refusal.message,
        "measure": refusal.measure,
        "value": refusal.value,
        "limit": refusal.limit,
    }


def _of_folder(folder: Path) -> Iterator[Candidate]:
    licences = folder_licences(folder)
    for path in image_files(folder):
        name = shown(path.relative_to(folder))
        licence = licences.get(name, "unstated")
        yield Candidate(name, "donors", licence, partial(image_sha256, path), partial(read_image, path))


def _bundled(recipe: Recipe) -> Iterator[Candidate]:
    for portrait in portraits() if recipe.donors.bundled else ():
        yield Candidate(
            portrait.name,
            "bundled",
            portrait.licence,
            partial(pixels_sha256, portrait.image),
            partial(np.copy, portrait.image),
        )


def _measured(candidate: Candidate, recipe: Recipe, analyser: FaceAnalyser) -> Row:
    row: Row = {
        "name": candidate.name,
        "origin": candidate.origin,
        "licence": candidate.licence,
        "sha256": None,
    }
    try:
        row["sha256"] = candidate.sha256()
        donor = check_portrait(candidate.read(), analyser, allow_drawn=recipe.donors.drawn)
    except Refusal as refusal:
        return row | refusal_columns(refusal)
    return row | donor_columns(donor)
