"""Queries on a data set: its contents, the clips that match, the details of one clip, the failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen.common.errors import UserError
from datagen.inspect.contact_sheet import save_sheet
from datagen.output.failures import count_values, failures_by_reason
from datagen.output.ids import member_suffix
from datagen.output.schema import INDEX
from datagen.shards.reader import Dataset

MEDIANS = tuple(
    column.name for column in INDEX if column.type == pa.float32() and column.name not in {"upscale"}
)
LISTED = ("clip_id", "split", "frames", "face_area", "donor", "identity_to_source", "style", "source")


def summary(dataset: Dataset) -> dict[str, Any]:
    """Contents of a data set as plain JSON values; clips without a value do not count in its median."""
    table = dataset.table
    frames, fps = table["frames"], table["fps"]
    seconds = pc.sum(pc.divide(pc.cast(frames, pa.float64()), fps)).as_py()
    return {
        "clips": len(dataset),
        "frames": pc.sum(frames).as_py() or 0,
        "hours": round((seconds or 0.0) / 3600, 4),
        "sources": pc.count_distinct(table["source"]).as_py(),
        "subjects": pc.count_distinct(table["subject"], mode="only_valid").as_py(),
        "bytes": sum(size or 0 for size in _clip_bytes(table)),
        "splits": count_values(table["split"]),
        "streams": _streams(table),
        "swappers": count_values(table["swapper"]),
        "donors": pc.count_distinct(table["donor"], mode="only_valid").as_py(),
        "styles": count_values(table["style"]),
        "licences": count_values(table["licence"]),
        "consent": count_values(table["consent"]),
        "recipes": count_values(table["recipe_hash"]),
        "medians": {name: value for name in MEDIANS if (value := _median(table[name])) is not None},
        "failures": failures_by_reason(dataset.store),
    }


def query(dataset: Dataset, columns: Sequence[str] = LISTED) -> list[dict[str, Any]]:
    """The clips of a data set (opened with `where`) as plain rows with these columns.

    Raises:
        UserError: the index lacks a column.
    """
    unknown = [name for name in columns if name not in dataset.table.column_names]
    if unknown:
        raise UserError(f"the index has no column {unknown[0]!r}; see docs/format.md", code=2)
    rows: list[dict[str, Any]] = dataset.table.select(list(columns)).to_pylist()
    return rows


def clip_details(dataset: Dataset, clip_id: str) -> dict[str, Any]:
    """All columns of one clip, without per-frame boxes and null values, and its files with their sizes.

    Raises:
        UserError: there is no such clip.
    """
    row = dataset.clip(clip_id)
    members = row.pop("members")
    row.pop("face_boxes", None)
    details = {name: value for name, value in row.items() if value is not None}
    details["files"] = {member_suffix(member["name"]): member["size"] for member in members}
    return details


def sheet(dataset: Dataset, clip_ids: Sequence[str], path: Path) -> None:
    """Write a contact sheet; see `datagen.inspect.contact_sheet.save_sheet`."""
    save_sheet(dataset, clip_ids, path)


def _clip_bytes(table: pa.Table) -> list[int]:
    sizes: list[int] = pc.struct_field(pc.list_flatten(table["members"]), "size").to_pylist()
    return sizes


def _streams(table: pa.Table) -> dict[str, int]:
    """Number of clips with each video stream."""
    names = pc.struct_field(pc.list_flatten(table["members"]), "name").to_pylist()
    suffixes = Counter(member_suffix(name) for name in names)
    return {
        suffix.removesuffix(".mp4"): count
        for suffix, count in sorted(suffixes.items())
        if suffix.endswith(".mp4")
    }


def _median(column: pa.ChunkedArray) -> float | None:
    value = pc.quantile(column, 0.5)[0].as_py()
    return None if value is None else round(value, 4)
