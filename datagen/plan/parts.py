"""Divide the source videos into parts. The plan is append-only: new sources get new parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pyarrow as pa

from datagen.output.ids import (
    clip_stem,
    key_hash,
    part_name,
    part_number,
    plan_table,
    plan_table_number,
    source_key,
)
from datagen.output.paths import Output
from datagen.output.publish import read_tables, write_table
from datagen.output.schema import PLAN, schema_of
from datagen.output.store import Store
from datagen.output.tombstones import read_withdrawn
from datagen.recipe import Recipe
from datagen.sources.manifest import Manifest
from datagen.sources.source import SourceVideo


@dataclass(frozen=True)
class ListedSource:
    """A listed source with its manifest, the name of its root, and the prefix of its path in `source`."""

    source: SourceVideo
    manifest: Manifest
    root: str
    prefix: str

    @property
    def name(self) -> str:
        """Name of the source in all rows."""
        return self.prefix + self.source.source


@dataclass(frozen=True)
class Planned:
    """Result of planning.

    Attributes:
        table: all rows of the plan.
        added: number of new sources.
        changed: planned sources whose size has changed.
        withdrawn: number of sources left out because their consent was withdrawn.
    """

    table: pa.Table
    added: int
    changed: list[str]
    withdrawn: int


def read_plan(out: Output, columns: list[str] | None = None) -> pa.Table:
    """The whole plan, in the order it was extended."""
    return read_tables(out.plan, columns)


def extend_plan(out: Output, found: Iterable[ListedSource], recipe: Recipe) -> Planned:
    """Append the sources that are not planned yet as new parts, in one more file `sources-<n>.parquet`.

    Of several drivers that plan at the same time, the first one to write file `n` wins. The others read the plan
    again and add only what it lacks. `n` is taken before the plan is read: a file that appears in between is then
    met as a taken name, never followed by a second file with the same sources. `n` follows the last file, not the
    number of files: where one is missing, a free name is still found.
    """
    listed = list(found)
    added = 0
    while True:
        number = 1 + max(
            (plan_table_number(path.stem) for path in out.plan.glob("sources-*.parquet")), default=-1
        )
        planned = preview_plan(out, listed, recipe)
        if not planned.added:
            return replace(planned, added=added)
        fresh = planned.table.slice(planned.table.num_rows - planned.added)
        write_table(fresh, out.plan / f"{plan_table(number)}.parquet", out.tmp)
        added += planned.added


def preview_plan(out: Output, found: Iterable[ListedSource], recipe: Recipe) -> Planned:
    """What `extend_plan` would return, without writing."""
    planned = read_plan(out)
    withdrawn = read_withdrawn(Store.open(out.root))
    sizes = dict(zip(*(planned.column(name).to_pylist() for name in ("source_key", "size")), strict=True))
    fresh: dict[str, ListedSource] = {}
    changed = []
    left_out = 0
    for item in found:
        key = source_key(item.name)
        if withdrawn.covers(item.name, item.source.subject):
            left_out += 1
        elif key not in sizes:
            fresh.setdefault(key, item)
        elif sizes[key] != item.source.size:
            changed.append(item.name)
    rows = _rows(fresh, planned, recipe)
    table = pa.concat_tables([planned, pa.Table.from_pylist(rows, schema=schema_of(PLAN))])
    return Planned(table, len(fresh), changed, left_out)


def _rows(fresh: dict[str, ListedSource], planned: pa.Table, recipe: Recipe) -> list[dict[str, object]]:
    part = 1 + max(map(part_number, planned.column("part").to_pylist()), default=-1)
    names = Counter(
        f"{name}-{key_hash(key)}"
        for name, key in zip(
            *(planned.column(item).to_pylist() for item in ("name", "source_key")), strict=True
        )
    )
    rows: list[dict[str, object]] = []
    for number, key in enumerate(sorted(fresh)):
        item = fresh[key]
        source = item.source
        stem = clip_stem(source.source)
        name = stem
        while names[f"{name}-{key_hash(key)}"]:  # two sources with the same name and hash: add a number
            names[f"{stem}-{key_hash(key)}"] += 1
            name = f"{stem[:34]}-{names[f'{stem}-{key_hash(key)}']}"
        names[f"{name}-{key_hash(key)}"] += 1
        licence, consent, sharing = item.manifest.rights()
        rows.append(
            {
                "part": part_name(part + number // recipe.plan.sources_per_part),
                "source": item.name,
                "source_key": key,
                "name": name,
                "root": item.root,
                "path": source.path,
                "member": source.member,
                "size": source.size,
                "etag": source.etag,
                "dataset": item.manifest.name,
                "subject": source.subject,
                "group": source.group,
                "start_s": None,
                "end_s": None,
                "licence": licence,
                "consent": consent,
                "sharing": sharing,
                "credit": item.manifest.credit_of(source.source),
            }
        )
    return rows
