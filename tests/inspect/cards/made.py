"""Data sets that have cards, and readers of the cards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import DatasetCard

from datagen.output.paths import Output
from datagen.output.temporary import temporary
from datagen.shards import ShardWriter
from datagen.shards.writer import publish_unit, row_json
from tests.shards.made import clip_row

STREAMS = ("video", "swapped", "driving_video", "driving_swapped")
NESTED = {
    "crop": {"x": -3, "y": 4, "size": 300},
    "padding": {"left": 3, "top": 0, "right": 0, "bottom": 0},
    "augmentations": [{"stream": "video", "scale": 0.9, "aspect": 1.1}],
    "models": [{"name": "face_mesh", "version": "1", "sha256": "ab", "licence": "Apache-2.0"}],
}


def write_clips(output: Output, unit: str, clips: list[dict[str, Any]]) -> None:
    """Publish a unit of clips with the usual members; `swapped=False` leaves that stream out."""
    shard = ShardWriter(temporary(output.tmp, f"{unit}.tar"))
    rows = []
    for number, values in enumerate(clips):
        names = [name for name in STREAMS if values.get("swapped", True) or "swapped" not in name]
        values = {key: value for key, value in values.items() if key != "swapped"}
        row = clip_row(unit, number, dataset="talks", licence="CC BY 4.0", consent="given", **NESTED) | values
        files: dict[str, bytes] = {f"{name}.mp4": f"{name} {number}".encode() for name in names}
        files |= {"face.safetensors": b"face", "json": row_json(row)}
        row["members"] = shard.add(row["clip_id"], files)
        rows.append(row)
    publish_unit(output, unit, shard, rows, [])


def header(output: Output) -> dict[str, Any]:
    return DatasetCard((output.root / "README.md").read_text()).data.to_dict()


def card(output: Output) -> str:
    return DatasetCard((output.root / "README.md").read_text()).text


def load(output: Output, cache: Path) -> list[dict[str, Any]]:
    datasets = pytest.importorskip("datasets", reason="needs the dev extra's `datasets`")
    loaded = datasets.load_dataset(str(output.root), split="train", cache_dir=str(cache))
    return list(loaded)


def records(output: Output) -> list[dict[str, Any]]:
    return [plain(record) for record in described(output).records("clips")]


def described(output: Output) -> Any:
    """The output as mlcroissant reads it, without errors or warnings."""
    mlcroissant = pytest.importorskip("mlcroissant", reason="needs the dev extra's `mlcroissant`")
    found = mlcroissant.Dataset(output.root / "croissant.json")
    assert not found.metadata.ctx.issues.errors and not found.metadata.ctx.issues.warnings
    return found


def plain(value: Any) -> Any:
    """A record of mlcroissant as in the index: mlcroissant names fields `clips/...` and gives text as bytes."""
    if isinstance(value, dict):
        return {key.rpartition("/")[2]: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value.decode() if isinstance(value, bytes) else value
