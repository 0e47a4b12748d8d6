"""What is still to do: the plan minus what is published. No database, no lock; resuming is asking again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datagen.layout import Output, names
from datagen.plan import read_plan
from datagen.pool import pool_files
from datagen.publish import write_table
from datagen.recipe import Recipe
from datagen.runners import Report, Task
from datagen.schema import CLIPS, FAILURES, INDEX, schema_of


def part_number(part: str) -> int:
    """Number in a part's name; names do not sort by text beyond `p99999`."""
    return int(part[1:])


def plan_parts(plan: pa.Table) -> list[str]:
    """Part names in order."""
    return sorted(pc.unique(plan.column("part")).to_pylist(), key=part_number)


def rows_by_part(plan: pa.Table, parts: set[str]) -> dict[str, list[dict[str, Any]]]:
    """Plan rows of some parts."""
    chosen = plan.filter(pc.is_in(plan.column("part"), pa.array(sorted(parts), pa.string())))
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in chosen.to_pylist():
        grouped.setdefault(row["part"], []).append(row)
    return grouped


def curate_tasks(out: Output, limit: int | None) -> tuple[list[Task], int]:
    """Parts that are not curated yet, and how many there are in all.

    Args:
        limit: enough parts for this many sources, whole parts always.
    """
    plan = read_plan(out)
    done = names(out.clips)
    parts = plan_parts(plan)
    pending = [part for part in parts if part not in done]
    rows = rows_by_part(plan, set(pending))
    if limit is not None:
        kept, sources = [], 0
        for part in pending:
            if sources >= limit:
                break
            kept.append(part)
            sources += len(rows[part])
        pending = kept
    return [Task("curate", part, {"part": part, "rows": rows[part]}) for part in pending], len(parts)


def uncovered_parts(out: Output) -> list[str]:
    """Curated parts that no frozen donor pool serves yet."""
    newest = max((part_number(last) for _, last in pool_files(out).values()), default=-1)
    return sorted((part for part in names(out.clips) if part_number(part) > newest), key=part_number)


def synthesise_tasks(out: Output, recipe: Recipe) -> tuple[Iterator[Task], int, int]:
    """Units that are not published yet (made lazily, in order), how many they are, and how many units there are."""
    pools = pool_files(out)
    done = names(out.index)
    size = recipe.plan.clips_per_unit
    starts: dict[str, tuple[Path, int, int]] = {}  # part -> pool, rank of its first clip, number of clips
    curated = sorted(names(out.clips), key=part_number)
    for path, (first, last) in pools.items():
        rank = 0
        served = range(part_number(first), part_number(last) + 1)
        for part in (name for name in curated if part_number(name) in served):
            count = pq.read_metadata(out.clips / f"{part}.parquet").num_rows
            starts[part] = (path, rank, count)
            rank += count
    units = {
        part: [f"{part}-u{number:02d}" for number in range(-(-count // size))]
        for part, (_, _, count) in starts.items()
    }
    pending = {part: [name for name in listed if name not in done] for part, listed in units.items()}
    pending = {part: listed for part, listed in pending.items() if listed}

    def make() -> Iterator[Task]:
        rows = rows_by_part(read_plan(out), set(pending))
        for part in sorted(pending, key=part_number):
            path, rank, _ = starts[part]
            clips = pq.read_table(out.clips / f"{part}.parquet", columns=["clip_id", "source_key"])
            keys = dict(zip(clips["clip_id"].to_pylist(), clips["source_key"].to_pylist(), strict=True))
            ordered = sorted(keys)
            sources = {row["source_key"]: row for row in rows[part]}
            for unit in pending[part]:
                number = int(unit.rpartition("-u")[2])
                members = ordered[number * size : (number + 1) * size]
                payload = {
                    "unit": unit,
                    "part": part,
                    "clip_ids": members,
                    "order": members,
                    "rank": rank + number * size,
                    "sources": {keys[clip]: sources[keys[clip]] for clip in members},
                    "pool": str(path),
                    "attempt": 1,
                }
                yield Task("synthesise", unit, payload)

    return make(), sum(map(len, pending.values())), sum(map(len, units.values()))


def record_lost_task(out: Output, task: Task, report: Report) -> None:
    """Publish failure rows for everything in a task that could not be done, so that nothing is lost silently."""
    payload = task.payload
    curating = task.kind == "curate"
    items = (
        [(row["source"], None) for row in payload["rows"]]
        if curating
        else [(_source_of(out, payload, clip), clip) for clip in payload["clip_ids"]]
    )
    rows = [
        {
            "part": payload["part"],
            "unit": None if curating else payload["unit"],
            "source": source,
            "clip_id": clip,
            "stream": None,
            "stage": task.kind,
            "reason": report["reason"],
            "message": report["message"],
            "hint": "retry",
            "attempt": payload.get("attempt", 1),
        }
        for source, clip in items
    ]
    table = pa.Table.from_pylist(rows, schema=schema_of(FAILURES))
    write_table(table, out.failures / f"{task.name}.parquet", out.tmp)
    folder, columns = (out.clips, CLIPS) if curating else (out.index, INDEX)
    write_table(schema_of(columns).empty_table(), folder / f"{task.name}.parquet", out.tmp)


def _source_of(out: Output, payload: dict[str, Any], clip_id: str) -> str:
    table = pq.read_table(out.clips / f"{payload['part']}.parquet", columns=["clip_id", "source"])
    found = dict(zip(table["clip_id"].to_pylist(), table["source"].to_pylist(), strict=True))
    return str(found[clip_id])
