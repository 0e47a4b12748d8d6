"""Freeze a wave: group its clips, assign a split to each group, a unit and a donor turn to each clip."""

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
from datagen.output.schema import WAVE, Row, schema_of
from datagen.pipeline.engine import Engine, do_or_record
from datagen.pipeline.pending import portrait_tasks
from datagen.pipeline.retries import read_retries
from datagen.pipeline.run_record import RunInputs
from datagen.plan.groups import group_clips
from datagen.plan.waves import Wave, read_waves
from datagen.recipe import Recipe
from datagen.shards.purge import apply_withdrawals

GROUPED = (
    *("clip_id", "source", "source_key", "source_sha256", "dataset", "subject", "group"),
    *("frames", "embedding", "frame_hashes"),
)


def freeze(out: Output, inputs: RunInputs, engine: Engine) -> list[Wave]:
    """Freeze the curated waves in order, then the parts that retries curated again.

    Returns:
        Waves that are not completely curated yet.
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
            retry.parts
            and curated.issuperset(retry.clip_tables)
            and retry.name not in published_names(out.waves)
        )
        if ready and not any(wave.holds(name) for wave in waiting for name in retry.clip_tables):
            freeze_clips(out, retry.name, retry.clip_tables, inputs.recipe)
            apply_withdrawals(out, ("plan/waves", retry.name))
    return waiting


def freeze_clips(out: Output, name: str, clip_tables: list[str], recipe: Recipe) -> None:
    """Publish groups, splits and units for the clips of a wave or of a retry.

    Args:
        out: the output.
        name: name of the wave or retry.
        clip_tables: names of its clip tables, all published.
        recipe: seed, splits and size of units.
    """
    clips = [
        {**row, "piece": clip_table}
        for clip_table in clip_tables
        for row in sorted(
            packed_rows(read_table(out.clips / f"{clip_table}.parquet", list(GROUPED))),
            key=lambda row: str(row["clip_id"]),
        )
    ]
    groups = group_clips(clips, _frozen_earlier(out), recipe.split, recipe.seed)
    donor_turns: Counter[str] = Counter()  # by split
    clip_numbers: Counter[str] = Counter()  # by clip table
    rows = []
    for clip, group in zip(clips, groups, strict=True):
        clip_table = clip["piece"]
        base = seed_of(clip_table) % 2**30 if is_again(clip_table) else 0  # a retry starts at another donor
        unit = unit_name(clip_table, clip_numbers[clip_table] // recipe.plan.clips_per_unit)
        rows.append({**clip, **vars(group), "unit": unit, "rank": base + donor_turns[group.split]})
        clip_numbers[clip_table] += 1
        donor_turns[group.split] += 1
    table = pa.Table.from_pylist(rows, schema=schema_of(WAVE))
    write_table(table, out.waves / f"{name}.parquet", out.tmp)


def _frozen_earlier(out: Output) -> list[Row]:
    """Rows of earlier waves and retries: their clips, and the portraits of their pools."""
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
