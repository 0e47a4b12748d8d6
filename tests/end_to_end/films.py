"""Sources that are small JSON texts instead of videos, and what goes with them: recipe, manifest, portraits, styles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datagen.output.paths import Output
from datagen.shards import Dataset
from datagen.sources.manifest import Manifest
from datagen.synthesise.stylise.style import Style

RECIPE: dict[str, Any] = {
    "seed": 3,
    "plan": {"sources_per_part": 2, "clips_per_unit": 2, "sources_per_wave": 4},
    "split": {"val": 0.25, "test": 0.2},
    "donors": {"max_pool": 6},
}
MANIFEST = Manifest(name="cheap", subject=r"^(?P<subject>zqs[a-z]+)_", licence="test", consent="given")
STYLES = (
    Style("grey", None, "filter", "1" * 64, "Apache-2.0"),
    Style("wave", np.zeros((2, 2, 3), np.uint8), "art", "2" * 64, "Apache-2.0"),
)
SHOWN = "video.txt", "swapped.txt", "styled.txt"


@dataclass(frozen=True)
class Film:
    """Content of a source.

    Attributes:
        token: a name that occurs nowhere else.
        person: number of the person it shows, None where the identity cannot be measured.
        clips: how many clips it gives.
        score: its score as a donor, None where it cannot be one.
        footage: sources with equal numbers show the same footage.
        state: `sound`, `broken` (curation fails), `fails` (synthesis fails), `kills` (kills its process), `plain` (its
            portrait is refused).
        version: version of the file; another version has other bytes.
    """

    token: str
    person: int | None
    clips: int = 1
    score: float | None = 0.5
    footage: int = 0
    state: str = "sound"
    version: int = 0

    def write(self, path: Path) -> None:
        """Write the source."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(self)))


@dataclass(frozen=True)
class Portrait:
    """A bundled portrait."""

    name: str
    person: int
    licence: str = "CC0-1.0"

    @property
    def image(self) -> np.ndarray:
        """Pixels whose value is the number of the person."""
        return np.full((4, 4, 3), self.person, np.uint8)


BUNDLED = (Portrait("zqbanja", 1), Portrait("zqbgert", 90), Portrait("zqbhugo", 91), Portrait("zqbjutta", 92))
"""The first one shows a person whom sources may show as well."""


def read_film(path: Path) -> Film:
    """Read a source."""
    return Film(**json.loads(path.read_text()))


def embedding(person: int) -> np.ndarray:
    """Identity of a person, at the same distance from all others."""
    return np.eye(128, dtype=np.float32)[person]


def png(value: int, token: str) -> bytes:
    """A PNG that also contains a name."""
    _, data = cv2.imencode(".png", np.full((4, 4, 3), value, np.uint8))
    return data.tobytes() + f"PORTRAIT:{token}".encode()


def streams(out: Output | Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Clip ids that a reader sees, each with the hashes of its streams."""
    dataset = Dataset(out.root if isinstance(out, Output) else out)
    for row in dataset.table.to_pylist():
        members = {item["name"].partition(".")[2]: item["sha256"] for item in row["members"]}
        yield row["clip_id"], {name: members[name] for name in SHOWN if name in members}
