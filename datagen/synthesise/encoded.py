"""Encode the streams of a clip, and the driving streams that are made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from datagen.common.errors import UserError
from datagen.common.seeding import keyed_rng
from datagen.driving.augment import Augmentation
from datagen.driving.mask import mask_driving
from datagen.faces.types import Faces
from datagen.media.encode import encode
from datagen.media.ffmpeg import FfmpegError, again_if_killed
from datagen.output.schema import Row
from datagen.recipe import Recipe
from datagen.synthesise.made_clip import MadeClip

SYNTHETIC_COMMENTS = {
    "swapped": "synthetic: face of another person put on real footage by megactor-datagen",
    "styled": "synthetic: real footage changed in style by megactor-datagen",
}


def encode_streams(
    streams: dict[str, np.ndarray], made: MadeClip, row: Row, faces: Faces, recipe: Recipe, scratch: Path
) -> None:
    """Encode the streams that the recipe keeps, and make and encode their driving streams."""
    augmentations = []
    for name, frames in streams.items():
        if name in recipe.encode.streams:
            with made.timed("encode"):
                path = scratch / f"{name}.mp4"
                made.files[f"{name}.mp4"] = encode_stream(
                    frames, row, recipe, path, comment=SYNTHETIC_COMMENTS.get(name, "")
                )
        if name in recipe.encode.driving:
            with made.timed("augment"):
                drawn = Augmentation.draw(
                    keyed_rng(recipe.seed, row["clip_id"], f"augment {name}"),
                    recipe.augment.rate,
                    recipe.augment.low,
                    recipe.augment.high,
                )
                driving, boxes = drawn.apply(frames, faces.box)
                landmarks = drawn.points(faces.landmarks, frames.shape[1:3])
            with made.timed("mask"):
                driving = mask_driving(driving, boxes, recipe.mask.mode, landmarks)
            with made.timed("encode"):
                path = scratch / f"driving_{name}.mp4"
                made.files[f"driving_{name}.mp4"] = encode_stream(
                    driving, row, recipe, path, kind="grey", comment=SYNTHETIC_COMMENTS.get(name, "")
                )
            augmentations.append({"stream": name, "scale": drawn.scale, "aspect": drawn.aspect})
    made.columns["augmentations"] = augmentations


def encode_stream(
    frames: np.ndarray, row: Row, recipe: Recipe, path: Path, *, kind: Any = "colour", comment: str = ""
) -> Path:
    """Encode one stream of a clip with the recipe's settings.

    Raises:
        UserError: valid frames cannot be encoded, because of encode.ffmpeg or the folder.
    """
    settings = recipe.encode
    try:
        again_if_killed(
            lambda: encode(
                frames,
                row["fps"],
                path,
                kind=kind,
                crf=settings.crf,
                gop=settings.gop,
                preset=settings.preset,
                comment=comment,
                ffmpeg_binary=settings.ffmpeg,
            )
        )
    except FfmpegError as error:  # the frames are valid, so the cause is ffmpeg or the folder, not the clip
        raise UserError(
            f"{error}; check encode.ffmpeg and the output, then run the same command again"
        ) from error
    return path
