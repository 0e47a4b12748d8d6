"""Rewrite published tables and units without the rows and bytes of what was withdrawn.

Consent may be withdrawn at any moment, also while a task runs. So every task reads the tombstones once more after it
published: an earlier withdrawal is applied here, a later one finds what was published.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace

import pyarrow as pa

from datagen.output.failures import files_of
from datagen.output.ids import SHARD_NAME, member_suffix, shard_name, shards_pattern
from datagen.output.paths import Output
from datagen.output.publish import exchange, publish, read_table, write_table
from datagen.output.schema import CLIPS, FAILURES, INDEX, WAVE, Column, Row, schema_of
from datagen.output.store import Store
from datagen.output.temporary import temporary
from datagen.output.tombstones import Withdrawn, read_withdrawn
from datagen.shards.writer import ShardWriter

SCRUBBED = {"clips": CLIPS, "plan/waves": WAVE, "failures": FAILURES}
"""Tables from which rows about withdrawn sources are removed, with their columns."""


def apply_withdrawals(out: Output, *tables: tuple[str, str]) -> None:
    """Read the tombstones after something was published, and remove what they cover.

    Args:
        out: the output.
        tables: folder and name of each; `index` includes the unit's shard.
    """
    withdrawn = read_withdrawn(Store.open(out.root))
    for folder, name in tables if withdrawn else ():
        if folder == "index":
            purge_unit(out, name, withdrawn)
        else:
            for file in files_of(out, name) if folder == "failures" else (name,):
                scrub(out, folder, file, withdrawn)


def scrub(out: Output, folder: str, name: str, withdrawn: Withdrawn) -> None:
    """Rewrite one of the `SCRUBBED` tables, where there is one, without rows about withdrawn sources."""
    path = out.root / folder / f"{name}.parquet"
    if not path.exists():
        return
    columns = SCRUBBED[folder]
    rows = read_table(path, schema=schema_of(columns)).to_pylist()
    kept = [row for row in rows if not withdrawn.covers(row["source"], row.get("subject"))]
    if kept != rows:
        rewrite(out, folder, name, columns, kept)


def purge_unit(out: Output, unit: str, withdrawn: Withdrawn) -> tuple[int, int]:
    """Rewrite a unit without its withdrawn clips: the new shard is published first, the old one deleted last.

    Kept clips keep the hashes of their rows, so that `verify` still finds earlier damage.

    Returns:
        Numbers of removed clips, and of kept clips whose bytes differ from those that were written.
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
    for path in out.shards.glob(shards_pattern(unit)):
        match = SHARD_NAME.fullmatch(path.name)
        if match is not None and match["unit"] == unit and path.name not in kept:
            path.unlink(missing_ok=True)


def rewrite(out: Output, folder: str, name: str, columns: tuple[Column, ...], rows: list[Row]) -> None:
    """Replace the rows of a table; a table of failures that becomes empty is deleted."""
    final = out.root / folder / f"{name}.parquet"
    if rows or folder != "failures":
        write_table(pa.Table.from_pylist(rows, schema=schema_of(columns)), final, out.tmp, exchange)
    else:
        final.unlink(missing_ok=True)


def _covers(withdrawn: Withdrawn, row: Row) -> bool:
    return withdrawn.covers(row["source"], row["subject"], row["donor_sha256"], row["style_sha256"])


def _repacked(out: Output, unit: str, rows: list[Row]) -> tuple[list[Row], int]:
    """Write a new shard of some clips, bytes unchanged; their new rows, and how many of them are damaged."""
    store = Store.open(out.root)
    path = temporary(out.tmp, unit)
    damaged = 0
    try:
        with ShardWriter(path) as shard:
            for row in rows:
                old = {member["name"]: member for member in row["members"]}
                files = {
                    member_suffix(name): store.read(
                        "shards", row["shard"], offset=member["offset"], size=member["size"]
                    )
                    for name, member in old.items()
                }
                damaged += any(
                    hashlib.sha256(files[member_suffix(name)]).hexdigest() != member["sha256"]
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
