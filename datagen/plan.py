"""Cut the source videos into parts, append-only: a planned source never moves, new ones get new parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.layout import Output
from datagen.manifest import Manifest
from datagen.publish import write_table
from datagen.recipe import Recipe, Split
from datagen.schema import PLAN, schema_of
from datagen.seeding import seed_of
from datagen.sources import Source, key_hash, name_of, sources_key


@dataclass(frozen=True)
class Planned:
    """What planning found: all rows of the plan, and what was new this time."""

    table: pa.Table
    added: int
    changed: list[str]


def read_plan(out: Output) -> pa.Table:
    """The whole plan, generations in order."""
    pieces = [pq.read_table(path) for path in sorted(out.plan.glob("sources-*.parquet"))]
    return pa.concat_tables(pieces) if pieces else schema_of(PLAN).empty_table()


def extend_plan(out: Output, found: Iterable[tuple[Source, Manifest]], recipe: Recipe) -> Planned:
    """Append the sources that are not planned yet as new parts and publish them as one more generation.

    Two drivers that plan at once list the same files and write the same generation; the first one wins.
    """
    generation = len(list(out.plan.glob("sources-*.parquet")))
    planned = read_plan(out)
    keys = planned.column("source_key").to_pylist()
    sizes = dict(zip(keys, planned.column("size").to_pylist(), strict=True))
    fresh: dict[str, tuple[Source, Manifest]] = {}
    changed = []
    for source, manifest in found:
        key = sources_key(source.source)
        if key not in sizes:
            fresh.setdefault(key, (source, manifest))
        elif sizes[key] != source.size:
            changed.append(source.source)
    if fresh:
        rows = _rows(fresh, planned, recipe)
        table = pa.Table.from_pylist(rows, schema=schema_of(PLAN))
        write_table(table, out.plan / f"sources-{generation:05d}.parquet", out.tmp)
        planned = read_plan(out)
    return Planned(planned, len(fresh), changed)


def preview_plan(out: Output, found: Iterable[tuple[Source, Manifest]], recipe: Recipe) -> Planned:
    """What `extend_plan` would give, without writing."""
    planned = read_plan(out) if out.plan.is_dir() else schema_of(PLAN).empty_table()
    known = set(planned.column("source_key").to_pylist())
    fresh = {sources_key(item[0].source): item for item in found if sources_key(item[0].source) not in known}
    table = pa.Table.from_pylist(_rows(fresh, planned, recipe), schema=schema_of(PLAN))
    return Planned(pa.concat_tables([planned, table]), len(fresh), [])


def _rows(
    fresh: dict[str, tuple[Source, Manifest]], planned: pa.Table, recipe: Recipe
) -> list[dict[str, object]]:
    part = len(set(planned.column("part").to_pylist()))
    names = Counter(
        f"{name}-{key_hash(key)}"
        for name, key in zip(
            *(planned.column(item).to_pylist() for item in ("name", "source_key")), strict=True
        )
    )
    splits = _splits(fresh, planned, recipe.split, recipe.seed)
    rows: list[dict[str, object]] = []
    for number, key in enumerate(sorted(fresh)):
        source, manifest = fresh[key]
        stem = name_of(source.source)
        name = stem
        while names[f"{name}-{key_hash(key)}"]:  # two sources of one name and hash: tell them apart
            names[f"{stem}-{key_hash(key)}"] += 1
            name = f"{stem[:34]}-{names[f'{stem}-{key_hash(key)}']}"
        names[f"{name}-{key_hash(key)}"] += 1
        rows.append(
            {
                "part": f"p{part + number // recipe.plan.sources_per_part:05d}",
                "source": source.source,
                "source_key": key,
                "name": name,
                "path": source.path,
                "member": source.member,
                "size": source.size,
                "etag": source.etag,
                "dataset": manifest.name,
                "subject": source.subject,
                "start_s": None,
                "end_s": None,
                "split": splits[key],
                "licence": manifest.licence,
                "consent": manifest.consent,
            }
        )
    return rows


def _splits(
    fresh: dict[str, tuple[Source, Manifest]], planned: pa.Table, shares: Split, seed: int
) -> dict[str, str]:
    """Split of each new source: sources and subjects that belong together stay together.

    Groups are the connected components of "same file" and "same subject"; a group that touches an already
    planned one takes its split, otherwise its smallest member decides by hash.
    """
    parent: dict[str, str] = {}

    def find(node: str) -> str:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def join(first: str, second: str | None) -> None:
        one, other = find(first), find(second) if second is not None else find(first)
        parent[max(one, other)] = min(one, other)

    settled: dict[str, str] = {}
    columns = (planned.column(name).to_pylist() for name in ("source", "dataset", "subject", "split"))
    for source, dataset, subject, split in zip(*columns, strict=True):
        settled[f"file {source}"] = split
        if subject is not None:
            settled[f"subject {dataset} {subject}"] = split
    for source, manifest in (fresh[key] for key in sorted(fresh)):
        person = None if source.subject is None else f"subject {manifest.name} {source.subject}"
        join(f"file {source.source}", person)
    known: dict[str, str] = {}
    for node in sorted(settled):
        if node in parent:
            known.setdefault(find(node), settled[node])
    result = {}
    for key, (source, _) in fresh.items():
        group = find(f"file {source.source}")
        share = seed_of(seed, group, "split") / 2**64
        drawn = "test" if share < shares.test else "val" if share < shares.test + shares.val else "train"
        result[key] = known.get(group, drawn)
    return result
