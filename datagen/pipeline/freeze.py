"""Freeze a wave: group its clips, give each group its split and each clip its unit and turn."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa

from datagen.common.seeding import seed_of
from datagen.donors.candidates import measured_portraits
from datagen.donors.choose import choose_donors, earlier_portraits, publish_pool
from datagen.faces.mediapipe.analyser import FaceAnalyser
from datagen.output.ids import is_again, is_retry, portraits_pattern, unit_name
from datagen.output.paths import Output, published_names
from datagen.output.publish import packed_rows, read_table, write_table
from datagen.output.schema import WAVE, schema_of
from datagen.pipeline.engine import Engine, do_or_record
from datagen.pipeline.pending import portrait_tasks
from datagen.pipeline.retries import read_retries
from datagen.pipeline.run_record import RunInputs
from datagen.plan.groups import group_clips
from datagen.plan.waves import Wave, read_waves
from datagen.recipe import Recipe
from datagen.shards.purge import apply_withdrawals

Row = dict[str, Any]

GROUPED = (
    *("clip_id", "source", "source_key", "source_sha256", "dataset", "subject", "group"),
    *("frames", "embedding", "frame_hashes"),
)


def freeze(out: Output, inputs: RunInputs, engine: Engine) -> list[Wave]:
    """Freeze the waves that are curated, in order, and then the parts that were curated again.

    Returns:
        Waves that wait for parts to be curated.
    """
    waves = read_waves(out)
    curated = published_names(out.clips)
    waiting = list(waves)
    for wave in waves:
        if not wave.is_curated(curated):
            break
        waiting.remove(wave)
        if wave.name not in published_names(out.waves) or wave.name not in published_names(out.donors):
            _freeze_wave(out, inputs, engine, wave)
    for retry in read_retries(out):
        ready = (
            retry.parts and curated.issuperset(retry.pieces) and retry.name not in published_names(out.waves)
        )
        if ready and not any(wave.holds(piece) for wave in waiting for piece in retry.pieces):
            freeze_clips(out, retry.name, retry.pieces, inputs.recipe)
            apply_withdrawals(out, ("plan/waves", retry.name))
    return waiting


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


def _freeze_wave(out: Output, inputs: RunInputs, engine: Engine, wave: Wave) -> None:
    recipe = inputs.recipe
    if wave.name not in published_names(out.waves):
        freeze_clips(out, wave.name, wave.parts, recipe)
    chosen: list[dict[str, Any]] = []
    if recipe.needs_portraits:
        portraits = measured_portraits(inputs.donors, recipe, FaceAnalyser())
        from_set = inputs.donors is None and recipe.donors.from_set
        chosen = choose_donors(out, wave.name, wave.parts, recipe, portraits, from_set=from_set)
    pending = portrait_tasks(out, wave.name, chosen, recipe)
    if pending.total:
        do_or_record(out, inputs, engine, "donors", "part", pending)
    made = {
        row["name"]: {name: value for name, value in row.items() if value is not None}
        for path in sorted(out.portraits.glob(portraits_pattern(wave.name)))
        for row in read_table(path).to_pylist()
    }
    publish_pool(out, wave.name, chosen, made)
    apply_withdrawals(out, ("plan/waves", wave.name))
