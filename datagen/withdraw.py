"""Withdraw footage whose consent was revoked, and later delete its bytes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.errors import UserError
from datagen.layout import SHARD_NAME, Output, names, shard_name, temporary
from datagen.plan import read_plan
from datagen.publish import disk_errors, publish, save_table, scratch
from datagen.schema import CLIPS, INDEX, schema_of
from datagen.shards.compact import compact_index
from datagen.shards.reader import Dataset
from datagen.shards.store import Store
from datagen.shards.withdrawn import Withdrawn, read_withdrawn, withdraw
from datagen.shards.writer import ShardWriter


def remove(out: Output, *, source: str | None = None, subject: str | None = None) -> str:
    """Hide a source or a person from every reader at once, also where their face was lent to others.

    Returns:
        What was withdrawn, and how to delete the bytes.

    Raises:
        UserError: the plan knows no such source or subject.
    """
    kind, name = ("source", source) if source is not None else ("subject", subject)
    known = set(read_plan(out).column(kind).to_pylist()) - {None}
    if name not in known:
        near = difflib.get_close_matches(str(name), sorted(known), n=1)
        raise UserError(
            f"no {kind} {name!r} in {out.root}" + (f"; did you mean {near[0]!r}?" if near else "")
        )
    donors = sorted(_donors_of(out, kind, str(name)))
    before = _readable(out)
    fresh = withdraw(out, source=source, subject=subject, donors=donors)
    gone = before - _readable(out)
    return (
        f"{kind} {name}: {'withdrawn' if fresh else 'was withdrawn before'}; {gone} clips hidden from every reader"
        f"{f', {len(donors)} donor portraits among them' if donors else ''}; "
        f"megactor-datagen compact {out.root} --purge deletes the bytes"
    )


def compact(out: Output, *, purge: bool = False) -> str:
    """Merge the index pieces into one file; with `purge`, delete the bytes of withdrawn footage first.

    A purge that is interrupted can be repeated: each unit gets its new shard before its index piece is exchanged,
    and loses the old one last.
    """
    deleted = _purge(out) if purge else 0
    pieces = names(out.index)
    if not pieces:
        raise UserError(f"{out.root} holds no finished unit: nothing to compact")
    text = f"{compact_index(out)} rows of {len(pieces)} units merged into {out.compacted / 'index.parquet'}"
    return f"{text}; bytes of {deleted} withdrawn clips deleted" if purge else text


def _readable(out: Output) -> int:
    try:
        return len(Dataset(out.root, columns=["clip_id"]))
    except UserError:
        return 0  # nothing published yet


def _donors_of(out: Output, kind: str, name: str) -> Iterable[str]:
    """Hashes of the portraits that show this person."""
    for path in out.donors.glob("*.parquet"):
        for row in pq.read_table(path, columns=["sha256", kind]).to_pylist():
            if row[kind] == name:
                yield row["sha256"]


def _purge(out: Output) -> int:
    withdrawn = read_withdrawn(Store.open(out.root))
    if not withdrawn:
        return 0
    (out.compacted / "index.parquet").unlink(missing_ok=True)
    deleted = sum(_purge_unit(out, path, withdrawn) for path in sorted(out.index.glob("*.parquet")))
    _drop_precomputed(out)
    for path in sorted(out.clips.glob("*.parquet")):
        _blank(out, path, withdrawn, CLIPS, ("embedding", "donor_score", "donor_image"))
    for path in sorted(out.donors.glob("*.parquet")):
        _blank_donors(out, path, withdrawn)
    return deleted


def _purge_unit(out: Output, piece: Path, withdrawn: Withdrawn) -> int:
    """Rewrite one unit without its withdrawn clips."""
    table = pq.read_table(piece, schema=schema_of(INDEX))
    kept = table.filter(withdrawn.kept())
    unit, gone = piece.stem, table.num_rows - kept.num_rows
    rows = kept.to_pylist()
    if gone:
        rows = _repack(out, unit, rows) if rows else []
        _exchange(out, pa.Table.from_pylist(rows, schema=schema_of(INDEX)), piece)
    shards_now = {row["shard"] for row in rows}
    for path in out.shards.glob(f"{unit}-*.tar"):
        match = SHARD_NAME.fullmatch(path.name)
        if match is not None and match["unit"] == unit and path.name not in shards_now:
            path.unlink()  # the old shard, also one that an interrupted purge left
    return gone


def _drop_precomputed(out: Output) -> None:
    """Delete the latents of units that hold withdrawn clips; `precompute` makes the others' again."""
    for path in sorted((out.precomputed / "index").glob("*.parquet")):
        kept = out.index / path.name
        clips = set(pq.read_table(path, columns=["clip_id"])["clip_id"].to_pylist())
        if kept.exists() and clips <= set(pq.read_table(kept, columns=["clip_id"])["clip_id"].to_pylist()):
            continue
        path.unlink()
        for shard in out.precomputed.glob(f"{path.stem}-*.tar"):
            match = SHARD_NAME.fullmatch(shard.name)
            if match is not None and match["unit"] == path.stem:
                shard.unlink()


def _repack(out: Output, unit: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A new shard with the kept clips; the same bytes for each of them."""
    store = Store.open(out.root)
    path = temporary(out.tmp, unit)
    try:
        with ShardWriter(path) as shard:
            for row in rows:
                files = {
                    member["name"].removeprefix(f"{row['clip_id']}."): store.read(
                        "shards", row["shard"], offset=member["offset"], size=member["size"]
                    )
                    for member in row["members"]
                }
                row["members"] = [asdict(member) for member in shard.add(row["clip_id"], files)]
        name = shard_name(unit, shard.close())
        publish(path, out.shards / name)
    finally:
        path.unlink(missing_ok=True)
    for row in rows:
        row["shard"] = name
    return rows


def _blank(
    out: Output, path: Path, withdrawn: Withdrawn, columns: tuple[Any, ...], names: tuple[str, ...]
) -> None:
    """Delete what shows or describes a withdrawn person, keep the row, so that units keep their clips."""
    schema = schema_of(columns)
    rows = pq.read_table(path, schema=schema).to_pylist()
    hit = [row for row in rows if withdrawn.covers(row["source"], row["subject"])]
    if any(row[name] is not None for row in hit for name in names):
        for row in hit:
            row.update(dict.fromkeys(names))
        _exchange(out, pa.Table.from_pylist(rows, schema=schema), path)


def _blank_donors(out: Output, path: Path, withdrawn: Withdrawn) -> None:
    table = pq.read_table(path)
    rows = table.to_pylist()
    hit = [row for row in rows if row["sha256"] in withdrawn.donors and row["image"] is not None]
    for row in hit:
        row.update(
            {"image": None, "embedding": None, "reason": "withdrawn", "message": "consent was withdrawn"}
        )
    if hit:
        _exchange(out, pa.Table.from_pylist(rows, schema=table.schema), path)


def _exchange(out: Output, table: pa.Table, final: Path) -> None:
    """Put a table in the place of an old one, whole or not at all."""
    with scratch(out.tmp, final.name) as path, disk_errors(out.tmp):
        save_table(table, path)
        path.replace(final)
