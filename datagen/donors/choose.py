"""Choose the donors of a wave: rank people of its clips and portraits, and divide them over the splits.

People of the set are ranked by columns of the clip table; only the portraits of chosen ones are cut from the footage.
Withdrawals do not change the choice: a withdrawn donor keeps its row in the pool, without image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from datagen.common.errors import Refusal
from datagen.donors.candidates import refusal_columns
from datagen.output.ids import portraits_pattern
from datagen.output.paths import Output
from datagen.output.publish import exchange, packed_rows, read_table, write_table
from datagen.output.schema import DONORS, WAVE, Row, schema_of
from datagen.output.store import Store
from datagen.output.tombstones import Withdrawn, read_withdrawn
from datagen.plan.groups import CONFLICT, divide_portraits
from datagen.plan.links import close_pairs
from datagen.recipe import Recipe


def choose_donors(
    out: Output, name: str, clip_tables: list[str], recipe: Recipe, portraits: list[Row], *, from_set: bool
) -> list[Row]:
    """Pool rows of a wave: the best clips of the set, one per person and split, then the portraits.

    Rows of clips have no image yet; `clip_id` and `piece` (name of the clip table) say what to cut it from.
    """
    clips = packed_rows(read_table(out.waves / f"{name}.parquet", schema=schema_of(WAVE)))
    counts = Counter(row["split"] for row in clips)
    counts.pop(CONFLICT, None)
    chosen = _best_of_set(out, clips, counts, clip_tables, recipe) if from_set else []
    settled = {row["sha256"]: row["split"] for row in earlier_portraits(out)}
    in_wave = _people_of_wave(portraits, clips, recipe.split.same_person)
    free = [
        row["sha256"]
        for row in portraits
        if row["reason"] is None and row["sha256"] not in in_wave and row["sha256"] not in settled
    ]
    split = divide_portraits(free, counts, recipe.split, recipe.seed) | settled
    room = Counter({name: _quota(counts, name, recipe.donors.max_pool) for name in ("train", "val", "test")})
    room.subtract(row["split"] for row in chosen if row["reason"] is None)
    accepted = [row for row in chosen if row["reason"] is None]
    for row in portraits:
        if row["reason"] is None:
            person, where = in_wave.get(row["sha256"], (None, split.get(row["sha256"])))
            row = {**row, "person": person, "split": where}
            if where is None or where == CONFLICT or (from_set and room[where] <= 0):
                continue
            if row["origin"] == "bundled" and (
                refusal := _same_person(row, accepted, recipe.donors.min_distance)
            ):
                row |= {"embedding": None, "landmarks": None, **refusal_columns(refusal)}
            else:
                room[where] -= 1
                accepted.append(row)
        chosen.append(row)
    return chosen


def publish_pool(out: Output, name: str, chosen: list[Row], cut: dict[str, Row]) -> None:
    """Publish the pool of a wave.

    Args:
        out: the output.
        name: name of the wave.
        chosen: rows of `choose_donors`.
        cut: clip id -> columns that `cut_portrait` returned.
    """
    withdrawn = read_withdrawn(Store.open(out.root))
    rows = [{**row, **cut.get(row.get("clip_id", ""), {})} for row in chosen]
    rows = [_blank(row, number, withdrawn) for number, row in enumerate(rows)]
    table = pa.Table.from_pylist(rows, schema=schema_of(DONORS))
    write_table(table, out.donors / f"{name}.parquet", out.tmp)
    blank_withdrawn(out, out.donors, name)
    for path in out.portraits.glob(portraits_pattern(name)):
        path.unlink(missing_ok=True)


def blank_withdrawn(out: Output, folder: Path, name: str, withdrawn: Withdrawn | None = None) -> None:
    """Blank the rows of withdrawn people in a pool, or in portraits cut for one.

    Args:
        out: the output.
        folder: `Output.donors` or `Output.portraits`.
        name: name of the table.
        withdrawn: the tombstones; None reads them now.
    """
    if withdrawn is None:
        withdrawn = read_withdrawn(Store.open(out.root))
    path = folder / f"{name}.parquet"
    if not withdrawn or not path.exists():
        return
    rows = read_table(path, schema=schema_of(DONORS)).to_pylist()
    kept = [_blank(row, number, withdrawn) for number, row in enumerate(rows)]
    if kept != rows:
        write_table(pa.Table.from_pylist(kept, schema=schema_of(DONORS)), path, out.tmp, exchange)


def earlier_portraits(out: Output) -> Iterable[Row]:
    """Rows of portraits from folders and from the package in all frozen pools."""
    columns = ["origin", "sha256", "person", "split", "embedding"]
    for path in sorted(out.donors.glob("*.parquet")):
        for row in read_table(path, columns).to_pylist():
            if row["origin"] != "set" and row["split"] is not None:
                yield row


def _blank(row: Row, number: int, withdrawn: Withdrawn) -> Row:
    """The row; for a withdrawn person, only origin, split and hash of the portrait."""
    if not withdrawn.covers(row.get("source"), row.get("subject"), row.get("sha256")):
        return row
    kept = {"name": f"withdrawn-{number}", "split": row.get("split"), "sha256": row.get("sha256")}
    reason = row.get("reason") or "withdrawn"
    return {**dict.fromkeys(row), **kept, "origin": row.get("origin"), "reason": reason}


def _best_of_set(
    out: Output, clips: list[Row], counts: Counter[str], clip_tables: list[str], recipe: Recipe
) -> list[Row]:
    """One clip per person, best score first; each split gets donors in proportion to its clips."""
    group_of = {row["clip_id"]: row for row in clips}
    columns = ["clip_id", "source", "subject", "licence", "donor_score", "embedding"]
    best: dict[str, Row] = {}
    for clip_table in clip_tables:
        for row in read_table(out.clips / f"{clip_table}.parquet", columns).to_pylist():
            group = group_of.get(row["clip_id"])  # None if the person was just purged
            if group is None or row["donor_score"] is None or row["embedding"] is None:
                continue
            if group["split"] == CONFLICT:
                continue
            row |= {"piece": clip_table, "person": group["person"], "split": group["split"]}
            if group["person"] not in best or _sort_key(row) < _sort_key(best[group["person"]]):
                best[group["person"]] = row
    chosen: list[Row] = []
    accepted: dict[str, list[Row]] = {name: [] for name in counts}
    for row in sorted(best.values(), key=_sort_key):
        split = row["split"]
        if len(accepted[split]) >= _quota(counts, split, recipe.donors.max_pool):
            continue
        made = {"name": row["clip_id"], "origin": "set", "sha256": None, "reason": None, **row}
        if refusal := _same_person(made, accepted[split], recipe.donors.min_distance):
            chosen.append({**made, "embedding": None, **refusal_columns(refusal)})
        else:
            accepted[split].append(made)
            chosen.append(made)
    return chosen


def _same_person(row: Row, accepted: list[Row], distance: float) -> Refusal | None:
    """A refusal if an accepted donor of the same split shows the same person, else None."""
    others = [other["embedding"] for other in accepted if other["split"] == row["split"]]
    if not others:
        return None
    nearest = float(
        np.linalg.norm(np.asarray(others, np.float32) - np.asarray(row["embedding"]), axis=1).min()
    )
    if nearest >= distance:
        return None
    message = f"{nearest:.2f} from a donor already in the pool"
    return Refusal("same_person", message, "", "distance", nearest, distance)


def _quota(counts: Counter[str], split: str, most: int) -> int:
    """Largest number of donors of a split: in proportion to its clips, rounded up."""
    return -(-most * counts[split] // max(sum(counts.values()), 1)) if counts[split] else most


def _sort_key(row: Row) -> tuple[float, str]:
    return -float(row["donor_score"]), str(row["clip_id"])


def _people_of_wave(portraits: list[Row], clips: list[Row], distance: float) -> dict[str, tuple[str, str]]:
    """Portraits that show a person of the wave: sha256 -> person and split of that person."""
    fit = [row for row in portraits if row["reason"] is None]
    known = [row for row in clips if row["embedding"] is not None]
    if not fit or not known:
        return {}
    mine = np.asarray([row["embedding"] for row in fit], np.float32)
    theirs = np.asarray([row["embedding"] for row in known], np.float32)
    found: dict[str, tuple[str, str]] = {}
    for pairs in close_pairs(mine, theirs, distance):
        for one, other in pairs.tolist():
            found.setdefault(fit[one]["sha256"], (known[other]["person"], known[other]["split"]))
    return found
