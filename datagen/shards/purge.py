"""Rewrite one published unit without the clips whose consent was withdrawn: their bytes and rows go."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa

from datagen.layout import SHARD_NAME, Output, shard_name, temporary
from datagen.publish import exchange, publish, read_table, write_table
from datagen.schema import INDEX, Column, schema_of
from datagen.shards.store import Store
from datagen.shards.withdrawn import Withdrawn, read_withdrawn
from datagen.shards.writer import ShardWriter

Row = dict[str, Any]


def drop_withdrawn(out: Output, unit: str) -> None:
    """Rewrite a unit that was published a moment ago, if consent was withdrawn while it was made."""
    if withdrawn := read_withdrawn(Store.open(out.root)):
        purge_unit(out, unit, withdrawn)


def purge_unit(out: Output, unit: str, withdrawn: Withdrawn) -> tuple[int, int]:
    """Rewrite a unit without its withdrawn clips. The new shard appears first, the old one goes last.

    Kept clips keep the hashes of their rows, so that damage from before is still seen by `verify`.

    Returns:
        Clips that went, and kept clips whose bytes are not those that were written.
    """
    piece = out.index / f"{unit}.parquet"
    rows = read_table(piece, schema=schema_of(INDEX)).to_pylist()
    kept = [row for row in rows if not _covers(withdrawn, row)]
    damaged = 0
    if len(kept) < len(rows):
        if kept:
            kept, damaged = _repacked(out, unit, kept)
        rewrite(out, "index", unit, INDEX, kept)
    remove_other_shards(out, unit, {row["shard"] for row in kept})
    return len(rows) - len(kept), damaged


def remove_other_shards(out: Output, unit: str, kept: set[str]) -> None:
    """Delete shards of a unit that its index does not point to."""
    for path in out.shards.glob(f"{unit}-*.tar"):
        match = SHARD_NAME.fullmatch(path.name)
        if match is not None and match["unit"] == unit and path.name not in kept:
            path.unlink(missing_ok=True)


def rewrite(out: Output, folder: str, name: str, columns: tuple[Column, ...], rows: list[Row]) -> None:
    """Put fewer or other rows in the place of a table's; a table of failures that becomes empty goes."""
    final = out.root / folder / f"{name}.parquet"
    if rows or folder != "failures":
        write_table(pa.Table.from_pylist(rows, schema=schema_of(columns)), final, out.tmp, exchange)
    else:
        final.unlink(missing_ok=True)


def _covers(withdrawn: Withdrawn, row: Row) -> bool:
    return withdrawn.covers(row["source"], row["subject"], row["donor_sha256"], row["style_sha256"])


def _repacked(out: Output, unit: str, rows: list[Row]) -> tuple[list[Row], int]:
    """A new shard with some clips, their bytes as they are."""
    store = Store.open(out.root)
    path = temporary(out.tmp, unit)
    damaged = 0
    try:
        with ShardWriter(path) as shard:
            for row in rows:
                old = {member["name"]: member for member in row["members"]}
                files = {
                    name.removeprefix(f"{row['clip_id']}."): store.read(
                        "shards", row["shard"], offset=member["offset"], size=member["size"]
                    )
                    for name, member in old.items()
                }
                damaged += any(
                    hashlib.sha256(files[name.removeprefix(f"{row['clip_id']}.")]).hexdigest()
                    != member["sha256"]
                    for name, member in old.items()
                )
                row["members"] = [
                    asdict(replace(member, sha256=old[member.name]["sha256"]))
                    for member in shard.add(row["clip_id"], files)
                ]
        name = shard_name(unit, shard.close())
        publish(path, out.shards / name)
    finally:
        path.unlink(missing_ok=True)
    return [{**row, "shard": name} for row in rows], damaged
