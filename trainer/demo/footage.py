"""Footage for the training demonstration: few heads with much motion; some motion and one head are for testing only.

The pipeline makes the data set in the usual way; clips are small and cropped closely, to suit a tiny model.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import yaml

from datagen.bundled.portraits import portraits
from datagen.bundled.talking_head import Head, motion
from datagen.media import encode
from datagen.pipeline.door import Pipeline

SEEN = ("astronaut", "hopper", "bea", "bert")
UNSEEN = "clara"
TRAIN_TAKES = 4
SIDE = 256  # side of the footage's frames in pixels; clips are cut to 128
FRAMES, FPS = 64, 16.0
WHERE = {
    "trained": "source like 'train-%'",
    "held-out motion": "source like 'test-%'",
    "unseen identity": "source like 'unseen-%'",
}
"""SQL over the index that selects the clips of each part."""

_MANIFEST = {
    "name": "follow",
    "title": "Talking heads made by code, for the training demonstration",
    "root": "footage",
    "licence": "public domain portraits (NASA, US Navy), and CC0 people who do not exist",
    "consent": "public-domain portraits of public figures; demonstration use only",
    "face_swap": "allowed",
    "subject": r"^(train|test|unseen)-(?P<subject>[a-z]+)",
    "recipe": {
        "plan": {"sources_per_part": 8, "clips_per_unit": 8},
        "curate": {"size": 128, "crop_scale": 1.6, "max_upscale": 2.0},
        "encode": {"driving": [], "crf": 12},
        "split": {"val": 0.0, "test": 0.0},
    },
}


def takes() -> dict[str, tuple[str, int]]:
    """Person and seed of the motion of every video, by the name of the video."""
    found = {}
    for index, person in enumerate(SEEN):
        for number in range(TRAIN_TAKES):
            found[f"train-{person}-{number}"] = (person, 100 * index + number)
        found[f"test-{person}"] = (person, 100 * index + 50)
    return found | {f"unseen-{UNSEEN}": (UNSEEN, 999)}


def make_data(folder: Path, say: Callable[[str], None]) -> Path:
    """Make the data set in `folder`, except what exists already.

    Returns:
        The pipeline's output folder.
    """
    footage, made = folder / "footage", folder / "data"
    footage.mkdir(parents=True, exist_ok=True)
    heads: dict[str, Head] = {}
    for name, (person, seed) in takes().items():
        video = footage / f"{name}.mp4"
        if video.exists():
            continue
        if person not in heads:
            heads[person] = _head(person)
        part = folder / "take.mp4"
        encode(heads[person].frames(motion(FRAMES, FPS, seed)), FPS, part, crf=12, comment="synthetic")
        shutil.move(part, video)
        say(f"footage: {name}")
    manifest = folder / "follow.yaml"
    manifest.write_text(yaml.safe_dump(_MANIFEST), encoding="utf-8")
    _synthesise(manifest, made, say)
    return made


def _head(person: str) -> Head:
    portrait = next(portrait for portrait in portraits() if portrait.name == person)
    scale = SIDE / portrait.image.shape[0]
    image = cv2.resize(portrait.image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    centre = np.array([0.5, 0.5, 0.0])  # pixel centres are whole numbers
    return Head(image, (portrait.landmarks + centre) * scale - centre)


def _synthesise(manifest: Path, made: Path, say: Callable[[str], None]) -> None:
    """`megactor-datagen run`, in one worker process."""
    Pipeline(runner="local", workers=1, say=say).run(str(manifest), made)
