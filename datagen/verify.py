"""Is a data set what it says? Hashes, places, agreement of rows and members, frame counts, nothing lost."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from datagen.errors import UserError
from datagen.layout import SHARD_NAME, UNIT_NAME
from datagen.publish import save_table
from datagen.schema import CLIPS, FAILURES, INDEX, Column, schema_of
from datagen.shards.check import check_shard, check_tar
from datagen.shards.store import Store
from datagen.shards.withdrawn import read_withdrawn


@dataclass
class Findings:
    """What `verify` saw.

    Attributes:
        faults: one line each; the data set is sound where there is none.
        notes: harmless things worth knowing, such as what an interrupted run left behind.
        units, clips: how much was looked at.
    """

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    units: int = 0
    clips: int = 0


def verify(out: str | Path, *, deep: bool = False) -> Findings:
    """Check a data set unit by unit; memory does not grow with its size beyond the clip ids.

    Args:
        out: output folder or URI.
        deep: also decode every frame, and check that masks are black or white and driving frames grey.

    Raises:
        UserError: there is no data set to check.
    """
    store = Store.open(out)
    found = Findings()
    pieces, shards = store.names("index"), set(store.names("shards"))
    if not pieces and not shards:
        raise UserError(f"{out} holds no finished unit: nothing to verify")
    clip_ids: set[str] = set()
    referenced: set[str] = set()
    for name in tqdm(pieces, desc="verify", unit="unit", disable=not sys.stderr.isatty()):
        if not UNIT_NAME.fullmatch(name.removesuffix(".parquet")) or not name.endswith(".parquet"):
            found.faults.append(f"index/{name}: unexpected file")
            continue
        found.units += 1
        rows = _rows(store, "index", name, INDEX, found)
        if rows is None:
            continue
        unit_shards = {row["shard"] for row in rows}
        referenced |= unit_shards
        found.faults += _index_faults(name, rows, unit_shards, clip_ids)
        found.clips += len(rows)
        for shard, own in _by_shard(rows):
            found.faults += check_shard(store, shard, own, deep=deep)
    units = {name.removesuffix(".parquet") for name in pieces}
    _stray_shards(shards - referenced, units, found)
    _accounts(store, units, found)
    _latents(store, clip_ids, found)
    if left := len(store.names("tmp")):
        found.notes.append(f"tmp/: {left} temporary files; a rerun clears them")
    return found


def _by_shard(rows: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Tars that rows point to, in order, each with its rows."""
    for shard in sorted(filter(None, {row["shard"] for row in rows})):
        yield shard, [row for row in rows if row["shard"] == shard]


def _latents(store: Store, clip_ids: set[str], found: Findings) -> None:
    """Compare what `precompute` added with its own index, and with the clips that are there."""
    names = [name for name in store.names("precomputed/index") if name.endswith(".parquet")]
    made: set[str] = set()
    for name in tqdm(names, desc="precomputed", unit="unit", disable=not sys.stderr.isatty()):
        try:
            rows = store.table("precomputed/index", name).to_pylist()
        except UserError as error:
            found.faults.append(str(error))
            continue
        made |= {row["clip_id"] for row in rows}
        for shard, own in _by_shard(rows):
            found.faults += check_tar(store, "precomputed", shard, own)
    if names and (missing := len(clip_ids - made)):
        found.notes.append(f"precomputed/: {missing} clips have no latents; `precompute` goes on")


def _rows(
    store: Store, folder: str, name: str, columns: tuple[Column, ...], found: Findings
) -> list[dict[str, Any]] | None:
    """Rows of a table file; None, and a fault, where it is damaged or has other columns."""
    try:
        table = store.table(folder, name)
        written = store.read(folder, name)
    except UserError as error:
        found.faults.append(str(error))
        return None
    schema = schema_of(columns)
    if not table.schema.equals(schema):
        other = [item.name for item in schema if item.name not in table.schema.names]
        other += [item.name for item in table.schema if item.name not in schema.names]
        what = ", ".join(other) or "types"
        found.faults.append(f"{folder}/{name}: columns differ from this version's ({what})")
        return None
    if _rewritten(table.cast(schema), written) != written:
        found.faults.append(f"{folder}/{name}: damaged outside its rows")
    return table.to_pylist()


def _rewritten(table: pa.Table, written: bytes) -> bytes:
    """The table written anew, which gives the same bytes; `written` where another pyarrow made it."""
    copy = pa.BufferOutputStream()
    save_table(table, copy)
    data: bytes = copy.getvalue().to_pybytes()
    versions = {pq.read_metadata(pa.BufferReader(item)).created_by for item in (data, written)}
    return data if len(versions) == 1 else written


def _index_faults(
    name: str, rows: list[dict[str, Any]], shards: set[str | None], clip_ids: set[str]
) -> Iterator[str]:
    unit = name.removesuffix(".parquet")
    if len(shards) > 1:
        yield f"index/{name}: its clips point to {len(shards)} shards"
    for row in rows:
        where = f"index/{name}: {row['clip_id']}"
        if row["clip_id"] in clip_ids:
            yield f"{where} is in the index twice"
        clip_ids.add(row["clip_id"])
        if row["unit"] != unit:
            yield f"{where} says unit {row['unit']}"
        match = SHARD_NAME.fullmatch(row["shard"] or "")
        if match is None or match["unit"] != unit:
            yield f"{where} points to {row['shard']!r}, not a shard of this unit"
        if not row["members"]:
            yield f"{where} has no members"


def _stray_shards(shards: set[str], units: set[str], found: Findings) -> None:
    for name in sorted(shards):
        match = SHARD_NAME.fullmatch(name)
        if match is None:
            found.faults.append(f"shards/{name}: unexpected file")
        elif match["unit"] in units:
            found.notes.append(f"shards/{name}: not the published one of its unit; can be deleted")
        else:
            found.notes.append(f"shards/{name}: left by an interrupted run; a rerun finishes the unit")


def _accounts(store: Store, units: set[str], found: Findings) -> None:
    """Every clip of a published unit must be in the index or in failures."""
    failures = set(store.names("failures"))
    size = _clips_per_unit(store)
    withdrawn = read_withdrawn(store)
    for name in sorted(failures):
        _rows(store, "failures", name, FAILURES, found)
    for name in store.names("clips"):
        rows = _rows(store, "clips", name, CLIPS, found)
        if rows is None or size is None:
            continue
        part = name.removesuffix(".parquet")
        gone = {row["clip_id"] for row in rows if withdrawn.covers(row["source"], row["subject"])}
        ordered = sorted(row["clip_id"] for row in rows)
        for number, start in enumerate(range(0, len(ordered), size)):
            unit = f"{part}-u{number:02d}"
            if unit in units:
                lost = set(ordered[start : start + size]) - _accounted(store, unit, failures) - gone
                what = "is neither in the index nor in failures"
                lines = [f"{unit}: {clip} {what}" for clip in sorted(lost)]
                if withdrawn.donors:  # a purge also deletes clips that wear a withdrawn face
                    found.notes += lines
                else:
                    found.faults += lines


def _accounted(store: Store, unit: str, failures: set[str]) -> set[str]:
    known: set[str] = set()
    for folder in ("index", "failures"):
        if folder == "index" or f"{unit}.parquet" in failures:
            with suppress(UserError):  # reported before
                known |= set(store.table(folder, f"{unit}.parquet", ["clip_id"])["clip_id"].to_pylist())
    return known


def _clips_per_unit(store: Store) -> int | None:
    """From `run.json`; None where there is none, as in a copy of shards and index alone."""
    try:
        return int(json.loads(store.read("run.json"))["recipe"]["plan"]["clips_per_unit"])
    except (UserError, ValueError, KeyError, TypeError):
        return None
