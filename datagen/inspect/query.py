"""Look into a data set: what is in it, which clips match, everything about one clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen.common.errors import UserError
from datagen.inspect.contact_sheet import save_sheet
from datagen.output.failures import owner_of
from datagen.output.ids import is_again
from datagen.output.schema import FAILURES, INDEX, schema_of
from datagen.output.store import Store
from datagen.output.tombstones import read_withdrawn
from datagen.shards.reader import Dataset

MEDIANS = tuple(
    column.name for column in INDEX if column.type == pa.float32() and column.name not in {"upscale"}
)
LISTED = ("clip_id", "split", "frames", "face_area", "donor", "identity_to_source", "style", "source")


def summary(dataset: Dataset) -> dict[str, Any]:
    """What a data set holds, as plain JSON values; medians leave out clips that lack the value."""
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
        "splits": _counts(table["split"]),
        "streams": _streams(table),
        "swappers": _counts(table["swapper"]),
        "donors": pc.count_distinct(table["donor"], mode="only_valid").as_py(),
        "styles": _counts(table["style"]),
        "licences": _counts(table["licence"]),
        "consent": _counts(table["consent"]),
        "recipes": _counts(table["recipe_hash"]),
        "medians": {name: value for name in MEDIANS if (value := _median(table[name])) is not None},
        "failures": failures_by_reason(dataset.store),
    }


def query(dataset: Dataset, columns: Sequence[str] = LISTED) -> list[dict[str, Any]]:
    """The clips of a data set (opened with `where`) as plain rows of a few columns."""
    unknown = [name for name in columns if name not in dataset.table.column_names]
    if unknown:
        raise UserError(f"the index has no column {unknown[0]!r}; see docs/format.md", code=2)
    rows: list[dict[str, Any]] = dataset.table.select(list(columns)).to_pylist()
    return rows


def clip_details(dataset: Dataset, clip_id: str) -> dict[str, Any]:
    """Everything about one clip; per-frame boxes and values that are null are left out.

    Raises:
        UserError: there is no such clip.
    """
    row = dataset.clip(clip_id)
    members = row.pop("members")
    row.pop("face_boxes", None)
    details = {name: value for name, value in row.items() if value is not None}
    details["files"] = {member["name"].removeprefix(f"{clip_id}."): member["size"] for member in members}
    return details


def sheet(dataset: Dataset, clip_ids: Sequence[str], path: Path) -> None:
    """Write a contact sheet; see `datagen.inspect.contact_sheet.save_sheet`."""
    save_sheet(dataset, clip_ids, path)


def read_failures(out: str | Path | Store, *, lenient: bool = False) -> pa.Table:
    """Failure rows that still stand: a later attempt, successful or not, supersedes the earlier ones.

    Rows about one left-out stream of a clip in the index are kept; withdrawn sources are left out.

    Args:
        out: the data set.
        lenient: pass over files that cannot be read, which `verify` reports.
    """
    store = out if isinstance(out, Store) else Store.open(out)
    schema = schema_of(FAILURES)
    rows = []
    for name in store.names("failures"):
        with suppress(UserError) if lenient else nullcontext():
            rows += store.table("failures", name, schema.names).to_pylist()
    withdrawn = read_withdrawn(store)
    latest: dict[tuple[Any, ...], int] = {}
    for row in rows:
        latest[_subject(row)] = max(latest.get(_subject(row), 0), row["attempt"] or 1)
    owners = {f"{owner_of(name.removesuffix('.parquet'))}.parquet" for name in store.names("failures")}
    made = _brought(store, owners, "index", ["clip_id"], lenient)
    curated = _brought(store, owners, "clips", ["source", "clip_id"], lenient)
    last = {(*_subject(row), row["attempt"] or 1): number for number, row in enumerate(rows)}
    kept = [
        row
        for number, row in enumerate(rows)
        if (row["attempt"] or 1) == latest[_subject(row)]
        and last[(*_subject(row), row["attempt"] or 1)] == number
        and not (row["stream"] is None and row["clip_id"] in made)
        and not (row["unit"] is None and (row["clip_id"] or row["source"]) in curated)
        and not withdrawn.covers(row["source"], None)
    ]
    return pa.Table.from_pylist(kept, schema=schema)


def failures_by_reason(store: Store) -> dict[str, int]:
    """How many sources and clips are left out, by reason; left-out streams are not counted."""
    failures = read_failures(store)
    return _counts(failures.filter(pc.is_null(failures["stream"]))["reason"])


def _subject(row: dict[str, Any]) -> tuple[Any, ...]:
    """What a failure row is about: a source, a clip, or a stream of a clip."""
    return row["source"], row["clip_id"], row["stream"]


def _brought(store: Store, owners: set[str], folder: str, columns: list[str], lenient: bool) -> set[str]:
    """What is there although a failure may name it: of retries (`-r1` ...) and of tables that failures stand beside."""
    found: set[str] = set()
    for name in store.names(folder):
        if is_again(name) or name in owners:
            with suppress(UserError) if lenient else nullcontext():
                table = store.table(folder, name, columns)
                for column in columns:
                    found |= set(table[column].to_pylist())
    return found


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counted = Counter(value for value in column.to_pylist() if value is not None)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _clip_bytes(table: pa.Table) -> list[int]:
    sizes: list[int] = pc.struct_field(pc.list_flatten(table["members"]), "size").to_pylist()
    return sizes


def _streams(table: pa.Table) -> dict[str, int]:
    """How many clips have each video stream."""
    names = pc.struct_field(pc.list_flatten(table["members"]), "name").to_pylist()
    suffixes = Counter(name.partition(".")[2] for name in names)
    return {
        suffix.removesuffix(".mp4"): count
        for suffix, count in sorted(suffixes.items())
        if suffix.endswith(".mp4")
    }


def _median(column: pa.ChunkedArray) -> float | None:
    value = pc.quantile(column, 0.5)[0].as_py()
    return None if value is None else round(value, 4)
