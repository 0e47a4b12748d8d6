"""What is still to do: the plan minus what is published. No database, no lock; resuming is asking again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
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
from datagen.seeding import seed_of
from datagen.shards.store import Store
from datagen.shards.withdrawn import Withdrawn, read_withdrawn


@dataclass(frozen=True)
class Retry:
    """One call of `retry`.

    Attributes:
        number: 1 for the first; names end in `-r1`.
        parts: part -> source keys to curate again.
        units: unit -> clip ids to make again.
    """

    number: int
    parts: dict[str, list[str]]
    units: dict[str, list[str]]

    @property
    def attempt(self) -> int:
        """Attempt number in failure rows."""
        return self.number + 1


def read_retries(out: Output) -> list[Retry]:
    """All retries asked for, in order."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.retries.glob("*.json"))]
    return sorted((Retry(**item) for item in found), key=lambda retry: retry.number)


def part_number(part: str) -> int:
    """Number of a part or of a part curated again; names do not sort by text beyond `p99999`."""
    return int(part[1:].partition("-")[0])


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
    """Parts that are not curated yet, those to be curated again, and how many there are in all.

    Args:
        limit: enough parts for this many sources, whole parts always.
    """
    plan = read_plan(out)
    done = names(out.clips)
    parts = plan_parts(plan)
    pending = [part for part in parts if part not in done]
    retries = [
        (retry, part, f"{part}-r{retry.number}")
        for retry in read_retries(out)
        for part in sorted(retry.parts)
    ]
    rows = rows_by_part(plan, {*pending, *(part for _, part, _ in retries)})
    if limit is not None:
        pending = _enough(pending, rows, limit)
    withdrawn = read_withdrawn(Store.open(out.root))
    tasks = [
        Task(
            "curate",
            part,
            {
                "part": part,
                "piece": part,
                "rows": rows[part],
                "attempt": 1,
                "refused": _withdrawn(rows[part], "source_key", withdrawn),
            },
        )
        for part in pending
    ]
    for retry, part, piece in retries:
        if piece not in done:
            wanted = set(retry.parts[part])
            payload = {
                "part": part,
                "piece": piece,
                "rows": [row for row in rows[part] if row["source_key"] in wanted],
                "attempt": retry.attempt,
                "known": sorted(_clip_ids(out, part)),
                "refused": _withdrawn(rows[part], "source_key", withdrawn),
            }
            tasks.append(Task("curate", piece, payload))
    return tasks, len(parts) + len(retries)


def uncovered_parts(out: Output) -> list[str]:
    """Curated parts that no frozen donor pool serves yet."""
    newest = max((part_number(last) for _, last in pool_files(out).values()), default=-1)
    fresh = (part for part in names(out.clips) if "-r" not in part and part_number(part) > newest)
    return sorted(fresh, key=part_number)


def synthesise_tasks(out: Output, recipe: Recipe) -> tuple[Iterator[Task], int, int]:
    """Units that are not published yet (made lazily, in order), how many they are, and how many units there are."""
    done = names(out.index)
    size = recipe.plan.clips_per_unit
    served = _served_pieces(out)
    units = {
        piece: [f"{piece}-u{number:02d}" for number in range(-(-place.count // size))]
        for piece, place in served.items()
    }
    again = {
        f"{unit}-r{retry.number}": (retry, unit, clips)
        for retry in read_retries(out)
        for unit, clips in sorted(retry.units.items())
    }
    pending = {piece: [name for name in listed if name not in done] for piece, listed in units.items()}
    pending = {piece: listed for piece, listed in pending.items() if listed}
    pending_again = {name: item for name, item in again.items() if name not in done}

    withdrawn = read_withdrawn(Store.open(out.root))

    def make() -> Iterator[Task]:
        pieces = {*pending, *(unit.rpartition("-u")[0] for _, unit, _ in pending_again.values())}
        rows = rows_by_part(read_plan(out), {f"p{piece[1:].partition('-')[0]}" for piece in pieces})
        for piece in sorted(pieces, key=lambda name: (part_number(name), name)):
            place = served[piece]
            part = f"p{piece[1:].partition('-')[0]}"
            columns = ["clip_id", "source_key", "source", "subject"]
            clips = pq.read_table(out.clips / f"{piece}.parquet", columns=columns).to_pylist()
            keys = {row["clip_id"]: row["source_key"] for row in clips}
            refused = _withdrawn(clips, "clip_id", withdrawn)
            ordered = sorted(keys)
            sources = {row["source_key"]: row for row in rows[part]}
            wanted: list[tuple[str, str, int, list[str] | None]]
            wanted = [(name, name, 1, None) for name in pending.get(piece, ())]
            wanted += [
                (name, unit, retry.attempt, chosen)
                for name, (retry, unit, chosen) in pending_again.items()
                if unit.rpartition("-u")[0] == piece
            ]
            for name, unit, attempt, chosen in wanted:
                number = int(unit.rpartition("-u")[2])
                members = ordered[number * size : (number + 1) * size]
                payload = {
                    "unit": name,
                    "part": part,
                    "piece": piece,
                    "clip_ids": members if chosen is None else chosen,
                    "order": members,
                    "rank": place.rank + number * size,
                    "sources": {keys[clip]: sources[keys[clip]] for clip in members},
                    "pool": str(place.pool),
                    "attempt": attempt,
                    "refused": refused,
                }
                yield Task("synthesise", name, payload)

    count = sum(map(len, pending.values())) + len(pending_again)
    return make(), count, sum(map(len, units.values())) + len(again)


def record_lost_task(out: Output, task: Task, report: Report) -> None:
    """Publish failure rows for everything in a task that could not be done, so that nothing is lost silently."""
    payload = task.payload
    curating = task.kind == "curate"
    items: list[tuple[str, str | None]]
    if curating:
        items = [(row["source"], None) for row in payload["rows"]]
    else:
        table = pq.read_table(out.clips / f"{payload['piece']}.parquet", columns=["clip_id", "source"])
        sources = dict(zip(table["clip_id"].to_pylist(), table["source"].to_pylist(), strict=True))
        items = [(sources[clip], clip) for clip in payload["clip_ids"]]
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
            "hint": "megactor-datagen retry",
            "attempt": payload["attempt"],
        }
        for source, clip in items
    ]
    failed = pa.Table.from_pylist(rows, schema=schema_of(FAILURES))
    write_table(failed, out.failures / f"{task.name}.parquet", out.tmp)
    folder, columns = (out.clips, CLIPS) if curating else (out.index, INDEX)
    write_table(schema_of(columns).empty_table(), folder / f"{task.name}.parquet", out.tmp)


@dataclass(frozen=True)
class _Place:
    """Where a piece of the clip table stands: its donor pool, the rank of its first clip there, its clips."""

    pool: Path
    rank: int
    count: int


def _served_pieces(out: Output) -> dict[str, _Place]:
    """Pieces of the clip table whose donor pool is frozen."""
    pieces = sorted(names(out.clips), key=lambda name: (part_number(name), name))
    served: dict[str, _Place] = {}
    for pool, (first, last) in pool_files(out).items():
        rank = 0
        numbers = range(part_number(first), part_number(last) + 1)
        for piece in (name for name in pieces if part_number(name) in numbers):
            count = pq.read_metadata(out.clips / f"{piece}.parquet").num_rows
            if "-r" in piece:  # must not move the ranks of others, whenever it comes
                served[piece] = _Place(pool, seed_of(piece) % 2**31, count)
            else:
                served[piece] = _Place(pool, rank, count)
                rank += count
    return served


def _withdrawn(rows: list[dict[str, Any]], key: str, withdrawn: Withdrawn) -> dict[str, tuple[str, str]]:
    """What must not be touched any more, with the reason and message of its failure row."""
    return {
        row[key]: ("withdrawn", "consent was withdrawn before the clip was made")
        for row in rows
        if withdrawn.covers(row["source"], row["subject"])
    }


def _enough(pending: list[str], rows: dict[str, list[dict[str, Any]]], limit: int) -> list[str]:
    kept: list[str] = []
    sources = 0
    for part in pending:
        if sources >= limit:
            break
        kept.append(part)
        sources += len(rows[part])
    return kept


def _clip_ids(out: Output, part: str) -> set[str]:
    """Clips of a part and of its retries so far."""
    found: set[str] = set()
    for path in [out.clips / f"{part}.parquet", *sorted(out.clips.glob(f"{part}-r*.parquet"))]:
        if path.exists():
            found.update(pq.read_table(path, columns=["clip_id"])["clip_id"].to_pylist())
    return found
