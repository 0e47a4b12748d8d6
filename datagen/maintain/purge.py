"""Purge: delete all data of an output that shows or names withdrawn people."""

from __future__ import annotations

import json

from datagen.common.errors import UserError
from datagen.donors.choose import blank_withdrawn
from datagen.output.ids import SHARD_NAME, shards_pattern
from datagen.output.paths import Output, published_names
from datagen.output.publish import read_table, replace
from datagen.output.schema import PLAN, Row, schema_of
from datagen.output.store import Store
from datagen.output.temporary import TOUCH_S
from datagen.output.tombstones import BLANK, Withdrawn, read_withdrawn, source_hash
from datagen.pipeline.retries import plan_remakes, read_retries
from datagen.plan.parts import read_plan
from datagen.shards.compact import compact_index
from datagen.shards.purge import SCRUBBED, purge_unit, rewrite, scrub

IDLE_S = 3 * TOUCH_S
"""Temporary files of other hosts are deleted after this time without a change; workers touch theirs more often."""


def compact(out: Output, *, purge: bool = False) -> str:
    """Merge the index pieces into one file; with `purge`, delete withdrawn footage first.

    An interrupted purge can be repeated.
    """
    deleted, damaged = purge_all(out) if purge else (0, 0)
    units = published_names(out.index)
    if units:
        rows = compact_index(out)
        text = f"{rows} rows of {len(units)} units merged into {out.compacted / 'index.parquet'}"
    elif purge:
        text = f"{out.root} holds no finished unit yet"
    else:
        raise UserError(f"{out.root} holds no finished unit: nothing to compact")
    if purge:
        text += f"; bytes of {deleted} withdrawn clips deleted, and all other data about what was withdrawn"
        if left := len(list(out.tmp.glob("*"))):
            text += f"; {left} temporary files of workers that may still run are left: purge again when they have ended"
    if damaged:
        text += f"; {damaged} of the remaining clips are damaged: `verify --repair` makes them again"
    return text


def purge_all(out: Output) -> tuple[int, int]:
    """Delete all that shows or names withdrawn people, everywhere under the output.

    Returns:
        Number of clips whose bytes were deleted, and of remaining clips that were found damaged.
    """
    withdrawn = read_withdrawn(Store.open(out.root))
    out.clear_stale_tmp(foreign_age_s=IDLE_S)
    if not withdrawn:
        return 0, 0
    plan_remakes(out)  # before the rows that name the clips are deleted
    for path in out.compacted.glob("*.parquet"):
        path.unlink(missing_ok=True)
    deleted = damaged = 0
    for unit in sorted(published_names(out.index)):
        unit_deleted, unit_damaged = purge_unit(out, unit, withdrawn)
        deleted, damaged = deleted + unit_deleted, damaged + unit_damaged
    _drop_precomputed(out)
    _scrub_retries(out, withdrawn)
    for folder in SCRUBBED:
        for name in sorted(published_names(out.root / folder)):
            scrub(out, folder, name, withdrawn)
    for pools in (out.donors, out.portraits):
        for name in sorted(published_names(pools)):
            blank_withdrawn(out, pools, name, withdrawn)
    for name in sorted(published_names(out.plan)):
        _blank_plan(out, name, withdrawn)
    for path in out.logs.glob("**/*.log"):  # output of processes may contain file names
        path.unlink(missing_ok=True)
    return deleted, damaged


def _clips_named(out: Output, withdrawn: Withdrawn) -> set[str]:
    """Ids of withdrawn clips that a clip table or a wave still names."""
    found: set[str] = set()
    for folder in (out.clips, out.waves):
        for name in published_names(folder):
            for row in read_table(folder / f"{name}.parquet", ["clip_id", "source", "subject"]).to_pylist():
                if withdrawn.covers(row["source"], row["subject"]):
                    found.add(row["clip_id"])
    return found


def _blank_plan(out: Output, name: str, withdrawn: Withdrawn) -> None:
    """Remove names from withdrawn rows of the plan; the rows stay, so that all parts keep their sources."""
    rows = read_table(out.plan / f"{name}.parquet", schema=schema_of(PLAN)).to_pylist()
    kept = [_blank_source(row) if withdrawn.covers(row["source"], row["subject"]) else row for row in rows]
    if kept != rows:
        rewrite(out, "plan", name, PLAN, kept)


def _blank_source(row: Row) -> Row:
    source = row["source"] if row["source"].startswith(BLANK) else BLANK + source_hash(row["source"])
    blank = {
        "source": source,
        "source_key": source,
        "name": "withdrawn",
        "path": b"",
        "member": "",
        "size": 0,
    }
    return {**dict.fromkeys(row), "part": row["part"], "root": row["root"], **blank}


def _scrub_retries(out: Output, withdrawn: Withdrawn) -> None:
    """Remove withdrawn clips and sources from the requested retries."""
    named = _clips_named(out, withdrawn)
    plan = read_plan(out, ["source", "source_key", "subject"]).to_pylist()
    keys = {row["source_key"] for row in plan if not withdrawn.covers(row["source"], row["subject"])}
    for retry in read_retries(out):
        parts = {part: [key for key in wanted if key in keys] for part, wanted in retry.parts.items()}
        units = {unit: [clip for clip in clips if clip not in named] for unit, clips in retry.units.items()}
        if parts != retry.parts or units != retry.units:
            held = {"number": retry.number, "parts": parts, "units": units}
            data = json.dumps(held, indent=1, sort_keys=True).encode()
            replace(data, out.retries / f"{retry.name}.json", out.tmp)


def _drop_precomputed(out: Output) -> None:
    """Delete the latents of units that hold withdrawn clips; `precompute` makes those of other clips again."""
    for path in sorted((out.precomputed / "index").glob("*.parquet")):
        kept = out.index / path.name
        clips = set(read_table(path, ["clip_id"])["clip_id"].to_pylist())
        if kept.exists() and clips <= set(read_table(kept, ["clip_id"])["clip_id"].to_pylist()):
            continue
        path.unlink()
        for shard in out.precomputed.glob(shards_pattern(path.stem)):
            match = SHARD_NAME.fullmatch(shard.name)
            if match is not None and match["unit"] == path.stem:
                shard.unlink()
