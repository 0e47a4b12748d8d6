"""Freeze a wave: group its clips, give each group its split and each clip its unit and turn."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa

from datagen.common.seeding import seed_of
from datagen.donors.choose import earlier_portraits
from datagen.output.ids import is_again, is_retry, unit_name
from datagen.output.paths import Output, published_names
from datagen.output.publish import packed_rows, read_table, write_table
from datagen.output.schema import WAVE, schema_of
from datagen.plan.groups import group_clips
from datagen.recipe import Recipe

Row = dict[str, Any]

GROUPED = (
    *("clip_id", "source", "source_key", "source_sha256", "dataset", "subject", "group"),
    *("frames", "embedding", "frame_hashes"),
)


def freeze_clips(out: Output, name: str, pieces: list[str], recipe: Recipe) -> None:
    """Publish groups, splits and units of a wave's pieces of the clip table, or of the pieces of one retry.

    Args:
        out: the output.
        name: of the wave or retry.
        pieces: of the clip table, all there.
        recipe: seed, splits and size of units.
    """
    clips = [
        {**row, "piece": piece}
        for piece in pieces
        for row in sorted(
            packed_rows(read_table(out.clips / f"{piece}.parquet", list(GROUPED))),
            key=lambda row: str(row["clip_id"]),
        )
    ]
    groups = group_clips(clips, _settled(out), recipe.split, recipe.seed)
    ranks: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    rows = []
    for clip, group in zip(clips, groups, strict=True):
        piece = clip["piece"]
        base = seed_of(piece) % 2**30 if is_again(piece) else 0  # a retry takes turns of its own
        unit = unit_name(piece, numbers[piece] // recipe.plan.clips_per_unit)
        rows.append({**clip, **vars(group), "unit": unit, "rank": base + ranks[group.split]})
        numbers[piece] += 1
        ranks[group.split] += 1
    table = pa.Table.from_pylist(rows, schema=schema_of(WAVE))
    write_table(table, out.waves / f"{name}.parquet", out.tmp)


def _settled(out: Output) -> list[Row]:
    """What earlier waves and retries settled: their clips, and the portraits of their pools."""
    rows: list[Row] = []
    for name in sorted(published_names(out.waves), key=lambda name: (is_retry(name), name)):
        rows += packed_rows(read_table(out.waves / f"{name}.parquet", schema=schema_of(WAVE)))
    for row in earlier_portraits(out):
        name = f"portrait-{row['sha256'][:16]}"
        rows.append(
            {**row, "source": None, "subject": None, "person": row["person"] or name, "component": name}
        )
    return rows
