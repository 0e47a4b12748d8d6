"""Make one unit: make its clips, pack them into a shard, and publish it with its index piece."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagen.common.errors import Refusal
from datagen.common.version import software
from datagen.faces import ModelInfo
from datagen.output.failures import failure_row, refuse_unexpected
from datagen.output.paths import Output
from datagen.output.publish import exchange, read_table
from datagen.output.schema import CLIP, GROUPS, INDEX, SOURCE, Row
from datagen.output.store import Store
from datagen.output.temporary import temporary
from datagen.output.tombstones import read_withdrawn
from datagen.plan.tasks import SynthesiseTask
from datagen.shards.purge import apply_withdrawals, remove_other_shards
from datagen.shards.writer import ShardWriter, publish_unit, row_json
from datagen.sources.files import SourceFiles
from datagen.synthesise.backends import Backends
from datagen.synthesise.clip import make_clip
from datagen.synthesise.made_clip import MadeClip

GROUPED = tuple(column.name for column in GROUPS)
FROZEN = (*GROUPED, "rank")
CARRIED = ("clip_id", "part", *(column.name for column in (*SOURCE, *CLIP)))


def read_clips(out: Output, clip_table: str, clip_ids: list[str]) -> list[Row]:
    """Rows of some clips in a clip table, sorted by clip id."""
    columns = [*CARRIED, "source_frames", "embedding"]
    table = read_table(out.clips / f"{clip_table}.parquet", columns)
    wanted = set(clip_ids)
    return sorted(
        (row for row in table.to_pylist() if row["clip_id"] in wanted), key=lambda row: str(row["clip_id"])
    )


def make_clips(
    out: Output, task: SynthesiseTask, backends: Backends, files: SourceFiles, scratch: Path
) -> Iterator[tuple[Row, MadeClip | Refusal]]:
    """Make the clips of a unit one after another; yields the row of the clip, and the made clip or its refusal.

    Clips that were withdrawn in the meantime are skipped. The files of a clip are deleted before the next one is made.
    """
    store = Store.open(out.root)
    frozen = {row["clip_id"]: {name: row[name] for name in FROZEN} for row in task.clips}
    for clip in read_clips(out, task.clip_table, list(frozen)):
        withdrawn = read_withdrawn(store)
        if withdrawn.covers(clip["source"], clip["subject"]):
            continue
        clip |= frozen[clip["clip_id"]]
        pool = backends.pool(out.donors / f"{task.wave}.parquet", withdrawn.portraits)
        source = task.sources[clip["source_key"]]
        folder = scratch / "clip"
        folder.mkdir()
        try:
            if clip["clip_id"] in task.refused:
                raise Refusal(*task.refused[clip["clip_id"]])
            with refuse_unexpected(), files.open(source, folder, clip["source_sha256"]) as opened:
                made = make_clip(
                    clip, opened.path, backends.recipe, backends, pool, withdrawn.portraits, folder
                )
            yield clip, made
        except Refusal as refusal:
            yield clip, refusal
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def synthesise_unit(
    out: Output, task: SynthesiseTask, recipe_hash: str, backends: Backends, files: SourceFiles
) -> dict[str, Any]:
    """Make and publish one unit.

    Args:
        out: the output.
        task: the unit.
        recipe_hash: written to all rows.
        backends: models and styles.
        files: opens the sources.

    Returns:
        Counters for the progress and the summary.
    """
    unit = task.name
    rows: list[Row] = []
    failures: list[Row] = []
    counts: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    scratch = temporary(out.tmp, unit)
    scratch.mkdir()
    try:
        with ShardWriter(scratch / "shard.tar") as shard:
            for clip, made in make_clips(out, task, backends, files, scratch):
                if isinstance(made, Refusal):
                    failures.append(_failed(task, clip, made))
                    counts["failed"] += 1
                    continue
                row = index_row(clip, unit, made, backends, recipe_hash)
                row["members"] = shard.add(clip["clip_id"], {**made.files, "json": row_json(row)})
                rows.append(row)
                for stream, refusal in sorted(made.left_out.items()):
                    failures.append(_failed(task, clip, refusal, stream))
                    counts[f"{stream}_left_out"] += 1
                counts["clips"] += 1
                counts["frames"] += row["frames"]
                seconds.update(made.seconds)
        if task.replaces is not None:
            _replace(out, unit, shard, rows, failures, task.replaces)
        else:
            publish_unit(out, unit, shard, rows, failures)
        apply_withdrawals(out, ("index", unit), ("failures", unit))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {**counts, "seconds": dict(seconds)}


def _replace(
    out: Output, unit: str, shard: ShardWriter, rows: list[Row], failures: list[Row], before: frozenset[str]
) -> None:
    """Replace a damaged unit.

    Raises:
        Refusal: a clip of the damaged unit could not be made again; the damaged unit stays.
    """
    lost = sorted(before - {row["clip_id"] for row in rows})
    if lost:
        why = next((f": {row['message']}" for row in failures if row["clip_id"] == lost[0]), "")
        raise Refusal("damaged", f"{unit} stays as it is, since {lost[0]} cannot be made again{why}")
    publish_unit(out, unit, shard, rows, failures, put=exchange)
    remove_other_shards(out, unit, {str(row["shard"]) for row in rows})


def index_row(clip: Row, unit: str, made: MadeClip, backends: Backends, recipe_hash: str) -> Row:
    """Index row of a clip, without shard and members."""
    row = {name: clip[name] for name in (*CARRIED, *GROUPED)}
    if unknown := made.columns.keys() - {column.name for column in INDEX}:
        raise ValueError(f"no column of the index is named {min(unknown)!r}; add it to datagen.output.schema")
    row |= made.columns
    return row | {
        "unit": unit,
        "seed": backends.recipe.seed,
        "models": [vars(model) for model in _models(row, backends)],
        "recipe_hash": recipe_hash,
        "software": software(),
        "batch_layout": "1",
    }


def _models(row: Row, backends: Backends) -> list[ModelInfo]:
    """Networks that were used for the clip."""
    used = list(backends.analyser.models)
    if row.get("swapper") and backends.swapper is not None:
        used += backends.swapper.models
    if row.get("stylist"):
        used += backends.stylists[row["stylist"]].models
    return sorted(dict.fromkeys(used), key=lambda model: model.name)


def _failed(task: SynthesiseTask, clip: Row, refusal: Refusal, stream: str | None = None) -> Row:
    stage = {None: "synthesise", "swapped": "swap"}.get(stream, "stylise")
    return failure_row(
        task.sources[clip["source_key"]]["part"],
        clip["source"],
        refusal,
        stage=stage,
        unit=task.name,
        clip_id=clip["clip_id"],
        stream=stream,
        attempt=task.attempt,
    )
