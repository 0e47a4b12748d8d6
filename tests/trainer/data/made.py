"""Small data sets in which every frame encodes its clip, its frame number and its stream."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from datagen.driving.augment import Augmentation
from datagen.driving.mask import mask_driving
from datagen.media import encode
from datagen.output.paths import Output
from datagen.output.schema import INDEX, schema_of
from datagen.output.temporary import temporary
from datagen.output.tombstones import withdraw
from datagen.shards.writer import ShardWriter, publish_unit, row_json
from trainer.data import Batch, DataConfig, DataSource, Loader, TrainingData, open_training_data

SIZE = 64
BOX = (8.0, 16.0, 56.0, 64.0)  # face box of every frame: the driver shows x 8..56 of all rows
LEVELS = {"video": 50, "swapped": 100, "styled": 150}  # grey of everything but the code
_BITS, _CELL, _LEFT, _TOP = 8, 5, 12, 24


def make_dataset(
    folder: Path,
    clips: int = 4,
    *,
    frames: int | Sequence[int] = 40,
    fps: float = 25.0,
    streams: Sequence[str] = ("video", "swapped", "styled"),
    driving: Sequence[str] = (),
    clips_per_unit: int = 3,
    prefix: str = "clip",
    splits: Sequence[str] = ("train",),
    gop: int = 12,
) -> Output:
    """A finished output in `folder`: 64x64 clips `<prefix>00`, `<prefix>01` ..., coded as `read_code` reads.

    Args:
        folder: new output folder.
        clips: number of clips.
        frames: number of frames of each clip, or one number for all; at most 256.
        fps: frames per second of all clips.
        streams: streams of every clip, besides mask and face.
        driving: streams also baked as driving videos, scaled by 0.9.
        clips_per_unit: clips in a shard.
        prefix: start of the clip ids.
        splits: taken in turn.
        gop: frames between key frames.
    """
    output = Output(folder)
    output.create()
    lengths = [frames] * clips if isinstance(frames, int) else list(frames)
    for first in range(0, clips, clips_per_unit):
        unit = f"p00000-u{first // clips_per_unit:02d}"
        rows = []
        with ShardWriter(temporary(output.tmp, f"{unit}.tar")) as shard:
            for number in range(first, min(first + clips_per_unit, clips)):
                split = splits[number % len(splits)]
                row = _row(number, lengths[number], fps, unit, prefix, split, driving)
                files = _files(folder, number, lengths[number], fps, streams, driving, gop)
                row["members"] = shard.add(row["clip_id"], files | {"json": row_json(row)})
                rows.append(row)
        assert publish_unit(output, unit, shard, rows, [])
    return output


def picture(clip: int, frame: int, stream: str = "video") -> np.ndarray:
    """(64, 64, 3) uint8: the level of its stream, with the numbers of clip and frame as white and black cells."""
    image = np.full((SIZE, SIZE, 3), LEVELS[stream], np.uint8)
    for line, number in enumerate((clip, frame)):
        for bit in range(_BITS):
            y, x = _TOP + line * 2 * _CELL, _LEFT + bit * _CELL
            image[y : y + 2 * _CELL, x : x + _CELL] = 255 if number >> bit & 1 else 0
    return image


def read_code(image: np.ndarray, warp: Augmentation | None = None) -> tuple[int, int]:
    """Clip and frame number of a picture (H, W), (H, W, 3) or (3, H, W), which `warp` was applied to."""
    image = np.asarray(image)
    if image.ndim == 3:
        image = image.mean(axis=0 if image.shape[0] == 3 else 2)
    numbers = []
    for line in range(2):
        centres = [
            (_LEFT + (bit + 0.5) * _CELL - 0.5, _TOP + (line + 0.5) * 2 * _CELL - 0.5) for bit in range(_BITS)
        ]
        points = np.array(centres)
        if warp is not None:
            points = warp.points(points, image.shape)
        x, y = np.round(points).astype(int).T
        numbers.append(int(sum(1 << bit for bit, level in enumerate(image[y, x]) if level > 128)))
    return numbers[0], numbers[1]


def read_stream(image: np.ndarray) -> str:
    """Stream a picture was taken from, by its grey level above the code."""
    image = np.asarray(image)
    if image.ndim == 3:
        image = image.mean(axis=0 if image.shape[0] == 3 else 2)
    return min(LEVELS, key=lambda stream: abs(LEVELS[stream] - image[18:22, 28:36].mean()))


def damage(output: Output, clip_id: str, suffix: str) -> None:
    """Overwrite the middle of a file of a clip with zeros."""
    from datagen.shards.reader import Dataset

    row = Dataset(output.root).clip(clip_id)
    member = next(m for m in row["members"] if m["name"] == f"{clip_id}.{suffix}")
    with (output.shards / row["shard"]).open("r+b") as file:
        file.seek(member["offset"] + member["size"] // 3)
        file.write(bytes(member["size"] // 3))


def portrait(kind: str, number: int) -> str:
    """The sha256 of a clip's `donor` or `style` in its row."""
    return hashlib.sha256(f"{kind} of {number}".encode()).hexdigest()


def withdraw_from(output: Output, **named: str) -> None:
    """Withdraw a `source`, a `subject` or a `portrait`, as `remove` does."""
    withdraw(
        output,
        sources=[named["source"]] if "source" in named else [],
        subject=named.get("subject"),
        portraits=[named["portrait"]] if "portrait" in named else [],
    )


def _row(
    number: int, frames: int, fps: float, unit: str, prefix: str, split: str, driving: Sequence[str]
) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys((column.name for column in INDEX), None)
    assert set(row) == set(schema_of(INDEX).names)
    return row | {
        "clip_id": f"{prefix}{number:02d}",
        "unit": unit,
        "part": "p00000",
        "source": f"{prefix}{number:02d}.mp4",
        "subject": f"{prefix} person {number}",
        "split": split,
        "donor_sha256": portrait("donor", number),
        "style_sha256": portrait("style", number),
        "frames": frames,
        "fps": fps,
        "size": SIZE,
        "face_boxes": [[round(value) for value in BOX]] * frames,
        "face_area": 0.5 + number / 100,
        "recipe_hash": f"hash of {prefix}",
        "augmentations": [{"stream": stream, "scale": 0.9, "aspect": 1.0} for stream in driving],
    }


def _files(
    folder: Path,
    number: int,
    frames: int,
    fps: float,
    streams: Sequence[str],
    driving: Sequence[str],
    gop: int,
) -> dict[str, bytes]:
    boxes = np.tile(np.array(BOX, np.float32), (frames, 1))
    angles = np.linspace(0, 2 * np.pi, 468, endpoint=False)
    oval = np.stack([32 + 22 * np.cos(angles), 38 + 24 * np.sin(angles), 0 * angles], axis=1)
    files = {
        "mask.mp4": _encoded(folder, [_person(number)] * frames, fps, "mask", gop),
        "face.safetensors": save(
            {
                "landmarks": np.tile(oval, (frames, 1, 1)).astype(np.float16),
                "irises": np.zeros((frames, 2, 5, 2), np.float16),
                "box": boxes.astype(np.float16),
                "pose": np.zeros((frames, 3), np.float16),
                "presence": np.ones(frames, np.float16),
            }
        ),
    }
    for stream in streams:
        pictures = np.stack([picture(number, frame, stream) for frame in range(frames)])
        files[f"{stream}.mp4"] = _encoded(folder, pictures, fps, "colour", gop)
        if stream in driving:
            warped, moved = Augmentation(0.9).apply(pictures, boxes)
            files[f"driving_{stream}.mp4"] = _encoded(folder, mask_driving(warped, moved), fps, "grey", gop)
    return files


def _person(number: int) -> np.ndarray:
    """Foreground mask, a little different for every clip."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[8 + number % 8 :, 8:56] = 255
    return mask


def _encoded(
    folder: Path, pictures: Sequence[np.ndarray] | np.ndarray, fps: float, kind: Any, gop: int
) -> bytes:
    path = folder / "tmp" / "stream.mp4"
    encode(pictures, fps, path, kind=kind, gop=gop, preset="ultrafast" if gop == 1 else "veryfast")
    data = path.read_bytes()
    path.unlink()
    return data


def opened(*outputs: Output, seed: int = 0, frames: int = 2, **source: object) -> TrainingData:
    sources = [DataSource(path=str(output.root), **source) for output in outputs]
    return open_training_data(sources, DataConfig(frames=frames), seed)


def take(loader: Loader, count: int) -> list[Batch]:
    return list(islice(loader, count))
