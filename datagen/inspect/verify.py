"""Check of a data set: hashes, byte ranges, rows against members, frame counts, and that no clip is lost."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from datagen.common.errors import UserError
from datagen.output.ids import SHARD_NAME, UNIT_NAME, failures_owner, table_name
from datagen.output.publish import save_table
from datagen.output.schema import CLIPS, FAILURES, INDEX, PLAN, WAVE, Column, schema_of
from datagen.output.store import Store
from datagen.output.tombstones import Withdrawn, read_withdrawn
from datagen.shards.check import check_shard, check_tar


@dataclass
class Findings:
    """Results of `verify`.

    Attributes:
        faults: one line each; without any, the data set is sound.
        notes: harmless observations, such as files that an interrupted run left.
        damaged_units: units with faults; `repair` makes them again.
        damaged_pieces: parts whose clip table has faults; `repair` makes it again.
        damaged_merged: files of the merged index with faults; `repair` deletes them, since readers do not need them.
        units, clips: numbers of units and clips that were checked.
    """

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    damaged_units: set[str] = field(default_factory=set)
    damaged_pieces: set[str] = field(default_factory=set)
    damaged_merged: set[str] = field(default_factory=set)
    units: int = 0
    clips: int = 0

    def fault(self, unit: str, lines: Iterable[str]) -> None:
        """Add faults of a unit."""
        for line in lines:
            self.faults.append(line)
            self.damaged_units.add(unit)


def verify(out: str | Path, *, deep: bool = False) -> Findings:
    """Check a data set unit by unit; apart from the clip ids, memory does not grow with its size.

    Args:
        out: output folder or URI.
        deep: also decode every frame, and check that masks are only black and white and driving frames grey.

    Raises:
        UserError: there is no data set to check.
    """
    store = Store.open(out)
    found = Findings()
    tables, shards = store.names("index"), set(store.names("shards"))
    if not tables and not shards:
        raise UserError(f"{out} holds no finished unit: nothing to verify")
    seen = _Seen(read_withdrawn(store))
    referenced: set[str] = set()
    for name in tqdm(tables, desc="verify", unit="unit", disable=not sys.stderr.isatty()):
        unit = table_name(name)
        if not UNIT_NAME.fullmatch(unit) or not name.endswith(".parquet"):
            found.faults.append(f"index/{name}: unexpected file")
            continue
        found.units += 1
        rows = _rows(store, "index", name, INDEX, found, found.damaged_units)
        if rows is None:
            continue
        unit_shards = {row["shard"] for row in rows}
        referenced |= unit_shards
        found.fault(unit, _index_faults(name, rows, unit_shards, seen))
        found.clips += len(rows)
        for shard, own in _by_shard(rows):
            found.fault(unit, check_shard(store, shard, own, deep=deep))
    units = {table_name(name) for name in tables}
    _stray_shards(shards - referenced, units, found)
    _check_nothing_lost(store, units, seen, found)
    _check_latents(store, seen.clips, found)
    found.damaged_merged |= set(_damaged_pages(store, "compacted", found))
    list(_damaged_pages(store, "plan/donors", found))
    if left := len(store.names("tmp")):
        found.notes.append(f"tmp/: {left} temporary files; a rerun clears them")
    return found


@dataclass
class _Seen:
    """Clips of the index: those that a reader sees, and those that use a withdrawn face or style."""

    withdrawn: Withdrawn
    clips: set[str] = field(default_factory=set)
    outdated: set[str] = field(default_factory=set)


def _by_shard(rows: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Names of the tars that rows point to, sorted, each with its rows."""
    for shard in sorted(filter(None, {row["shard"] for row in rows})):
        yield shard, [row for row in rows if row["shard"] == shard]


def _check_latents(store: Store, clip_ids: set[str], found: Findings) -> None:
    """Compare the files that `precompute` added with its index and with the clips of the data set."""
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
        found.notes.append(f"precomputed/: {missing} clips have no latents; `precompute` makes them")


def _damaged_pages(store: Store, folder: str, found: Findings) -> Iterator[str]:
    """Names of tables in a folder whose page checksums are wrong or that cannot be read; tables are read in batches."""
    for name in store.names(folder):
        try:
            with store.filesystem.open_input_file(store.path(folder, name)) as file:
                table = pq.ParquetFile(file, page_checksum_verification=True)
                for _ in table.iter_batches(use_threads=False):
                    pass
        except (pa.ArrowException, OSError, ValueError) as error:
            found.faults.append(f"{folder}/{name} cannot be read: {' '.join(str(error).split())}")
            yield name


def _rows(
    store: Store,
    folder: str,
    name: str,
    columns: tuple[Column, ...],
    found: Findings,
    damaged: set[str] | None = None,
) -> list[dict[str, Any]] | None:
    """Rows of a table file; None if it cannot be read or has other columns.

    Args:
        store: the data set's store.
        folder: the file's folder.
        name: the file's name.
        columns: the columns that the table must have.
        found: receives the faults.
        damaged: receives the file's name without its suffix if there is a fault, also one in its header or footer.
    """
    before = len(found.faults)
    rows = _table_rows(store, folder, name, columns, found)
    if damaged is not None and len(found.faults) > before:
        damaged.add(table_name(name))
    return rows


def _table_rows(
    store: Store, folder: str, name: str, columns: tuple[Column, ...], found: Findings
) -> list[dict[str, Any]] | None:
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
        found.faults.append(f"{folder}/{name}: its header or footer is damaged")
    return table.to_pylist()


def _rewritten(table: pa.Table, written: bytes) -> bytes:
    """What writing the table again gives; it must equal the file.

    A file of another pyarrow cannot be compared; then `written` itself is returned.
    """
    copy = pa.BufferOutputStream()
    save_table(table, copy)
    data: bytes = copy.getvalue().to_pybytes()
    versions = {pq.read_metadata(pa.BufferReader(item)).created_by for item in (data, written)}
    return data if len(versions) == 1 else written


def _index_faults(
    name: str, rows: list[dict[str, Any]], shards: set[str | None], seen: _Seen
) -> Iterator[str]:
    unit = table_name(name)
    if len(shards) > 1:
        yield f"index/{name}: its clips point to {len(shards)} shards"
    for row in rows:
        where = f"index/{name}: {row['clip_id']}"
        if seen.withdrawn.covers(row["source"], row["subject"], row["donor_sha256"], row["style_sha256"]):
            seen.outdated.add(row["clip_id"])
        elif row["clip_id"] in seen.clips:
            yield f"{where} is in the index twice"
        else:
            seen.clips.add(row["clip_id"])
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
            found.notes.append(f"shards/{name}: not the published shard of its unit; it can be deleted")
        else:
            found.notes.append(
                f"shards/{name}: its unit has no index table; a rerun or `verify --repair` finishes it"
            )
            found.damaged_units.add(match["unit"])


def _check_nothing_lost(store: Store, units: set[str], seen: _Seen, found: Findings) -> None:
    """Every source of a curated part must have clips or a failure, every clip of a finished unit a row or a failure."""
    failed = _failed(store, found)
    curated: dict[str, set[str]] = {}
    for name in store.names("clips"):
        rows = _rows(store, "clips", name, CLIPS, found, found.damaged_pieces)
        if rows is not None:
            curated[table_name(name)] = {row["source"] for row in rows}
    damaged = frozenset(found.damaged_pieces)
    for name in store.names("plan"):
        rows = _rows(store, "plan", name, PLAN, found) if name.endswith(".parquet") else None
        for row in rows or ():
            sources = curated.get(row["part"])
            if sources is None or row["part"] in damaged:
                continue
            if seen.withdrawn.covers(row["source"], row["subject"]):
                continue
            if row["source"] not in sources and (row["source"], None) not in failed.get(row["part"], ()):
                found.faults.append(f"clips/{row['part']}: {row['source']} has neither clips nor a failure")
                found.damaged_pieces.add(row["part"])
    outdated = 0
    for name in store.names("plan/waves"):
        rows = _rows(store, "plan/waves", name, WAVE, found) if name.endswith(".parquet") else None
        for row in rows or ():
            clip, unit = row["clip_id"], row["unit"]
            if unit not in units or clip in seen.clips or unit in found.damaged_units:
                continue
            if (row["source"], clip) in failed.get(unit, ()) or seen.withdrawn.covers(
                row["source"], row["subject"]
            ):
                continue
            if clip in seen.outdated or seen.withdrawn.portraits:
                outdated += 1
            else:
                found.fault(unit, [f"{unit}: {clip} is neither in the index nor in failures"])
    if outdated:
        found.notes.append(
            f"{outdated} clips show a withdrawn face or style; `run`, `synthesise` or `retry` makes them again"
        )


def _failed(store: Store, found: Findings) -> dict[str, set[tuple[str, str | None]]]:
    """Part or unit -> (source, clip) and (source, None) for each of its failure rows that is not about a stream."""
    failed: dict[str, set[tuple[str, str | None]]] = {}
    for name in store.names("failures"):
        owner = failures_owner(table_name(name))
        damaged: set[str] = set()
        rows = _rows(store, "failures", name, FAILURES, found, damaged)
        if damaged:
            (found.damaged_units if UNIT_NAME.fullmatch(owner) else found.damaged_pieces).add(owner)
        for row in rows or ():
            if row["stream"] is None:
                failed.setdefault(owner, set()).update(
                    {(row["source"], row["clip_id"]), (row["source"], None)}
                )
    return failed
