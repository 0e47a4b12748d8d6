"""One undamaged clip with real streams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from datagen.media import encode
from datagen.output.paths import Output
from datagen.output.temporary import temporary
from datagen.shards.check import FACE_SHAPES
from datagen.shards.writer import ShardWriter, publish_unit, row_json
from tests.shards.made import clip_row

FRAMES, SIDE = 6, 64


def frames_of(kind: str, frames: int = FRAMES) -> np.ndarray:
    ramp = np.broadcast_to(np.arange(SIDE, dtype=np.uint8) * 3, (frames, SIDE, SIDE)).copy()
    if kind == "mask":
        return np.where(ramp > 90, 255, 0).astype(np.uint8)
    return np.repeat(ramp[..., None], 3, -1) if kind == "colour" else ramp


def make_clip(folder: Path, **changes: Any) -> dict[str, bytes]:
    """Members of an undamaged clip; `changes` replace streams by (frames, kind) or face arrays."""
    streams = {
        "video": (frames_of("colour"), "colour"),
        "swapped": (frames_of("colour"), "colour"),
        "driving_swapped": (frames_of("grey"), "grey"),
        "mask": (frames_of("mask"), "mask"),
    } | {name: value for name, value in changes.items() if name != "face"}
    files = {}
    for name, (frames, kind) in streams.items():
        path = folder / f"{name}.mp4"
        encode(frames, 25, path, kind=kind)
        files[f"{name}.mp4"] = path.read_bytes()
    arrays = {key: np.zeros((FRAMES, *shape), np.float16) for key, shape in FACE_SHAPES.items()}
    files["face.safetensors"] = save(arrays | changes.get("face", {}))
    return files


def publish_clip(output: Output, files: dict[str, bytes], **row: Any) -> None:
    unit = "p00000-u00"
    made = clip_row(unit, 0, **{"frames": FRAMES, "size": SIDE, **row})
    shard = ShardWriter(temporary(output.tmp, unit))
    made["members"] = shard.add(made["clip_id"], files | {"json": row_json(made)})
    publish_unit(output, unit, shard, [made], [])
