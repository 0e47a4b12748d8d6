"""What must be true of an output at every moment, whatever commands are running on it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from datagen.common.errors import UserError
from datagen.inspect.verify import verify
from datagen.output.failures import read_failures
from datagen.output.paths import Output, published_names
from datagen.output.publish import read_table
from datagen.output.store import Store
from datagen.output.tombstones import Withdrawn, read_withdrawn
from datagen.pipeline.pending import frozen_units
from datagen.pipeline.retries import read_retries
from datagen.plan.groups import CONFLICT
from datagen.plan.parts import read_plan
from datagen.shards import Dataset
from tests.end_to_end.films import SHOWN

Row = dict[str, Any]


def withdrawn_of(out: Output) -> Withdrawn:
    """All tombstones."""
    return read_withdrawn(Store.open(out.root))


def visible(out: Output) -> list[Row]:
    """Rows that a reader sees now."""
    return Dataset(out.root).table.to_pylist() if published_names(out.index) else []


def check_places(out: Output) -> int:
    """Each source and each frozen clip is in exactly one state: pending, in the index, failed or withdrawn.

    Returns:
        How many are pending.
    """
    withdrawn = withdrawn_of(out)
    rows = visible(out)
    twice = [clip for clip, count in Counter(row["clip_id"] for row in rows).items() if count > 1]
    assert not twice, f"in the index twice: {twice}"
    seen = {row["clip_id"] for row in rows}
    failures = [row for row in read_failures(out.root).to_pylist() if row["stream"] is None]
    failed = {row["clip_id"] for row in failures}
    failed_sources = {row["source"] for row in failures if row["clip_id"] is None}
    both = seen & failed
    assert not both, f"in the index and in failures: {both}"
    curated = published_names(out.clips)
    retries = read_retries(out)
    asked_sources = {
        key for retry in retries for part, keys in retry.parts.items() for key in keys
        if f"{part}-r{retry.number}" not in curated
    }  # fmt: skip
    giving: set[str] = set()
    for piece in curated:
        giving |= set(read_table(out.clips / f"{piece}.parquet", ["source"])["source"].to_pylist())
    pending = 0
    for row in read_plan(out).to_pylist():
        if withdrawn.covers(row["source"], row["subject"]):
            continue
        source = row["source"]
        if row["part"] not in curated or row["source_key"] in asked_sources:
            pending += 1
            continue
        assert (source in giving) != (source in failed_sources), (
            f"{source}: clips {source in giving}, failure {source in failed_sources}"
        )
    return pending + _check_clips(out, withdrawn, seen, failed)


def _check_clips(out: Output, withdrawn: Withdrawn, seen: set[str], failed: set[str]) -> int:
    done = published_names(out.index)
    asked = {
        clip for retry in read_retries(out) for unit, clips in retry.units.items() for clip in clips
        if retry.unit(unit) not in done
    }  # fmt: skip
    worn = {
        row["clip_id"] for unit in done
        for row in read_table(
            out.index / f"{unit}.parquet", ["clip_id", "donor_sha256", "style_sha256"]
        ).to_pylist()
        if withdrawn.covers(None, None, row["donor_sha256"], row["style_sha256"])
    }  # fmt: skip
    frozen: set[str] = set()
    pending = 0
    for name in published_names(out.waves):
        for unit, rows in frozen_units(out, name, ["unit", "clip_id", "source", "subject"]).items():
            for row in rows:
                clip = row["clip_id"]
                assert clip not in frozen, f"{clip} is frozen twice"
                frozen.add(clip)
                if withdrawn.covers(row["source"], row["subject"]):
                    assert clip not in seen, f"{clip} was withdrawn and is seen"
                elif unit not in done:
                    pending += 1
                    assert clip not in seen, f"{clip} is pending and seen"
                elif clip not in seen and clip not in failed:
                    assert clip in asked or clip in worn, f"{clip} of {unit} is lost"
                    pending += 1
    return pending + len(asked & failed)


def check_readers(
    out: Output, opened: list[tuple[Dataset, list[Row]]], forbidden: set[str], cards: bool
) -> None:
    """No reader (opened before or now), no list of failures and no card shows a withdrawn person.

    Args:
        opened: data sets that were opened earlier, with their rows.
        forbidden: names of withdrawn people and portraits.
        cards: whether cards and sheet were made again since the last withdrawal.
    """
    withdrawn = withdrawn_of(out)
    if published_names(out.index):
        now = Dataset(out.root)
        for row in now.table.to_pylist():
            _same_or_nothing(now, row, forbidden, must=True)
    for dataset, rows in opened:
        for row in rows:
            gone = withdrawn.covers(row["source"], row["subject"], row["donor_sha256"], row["style_sha256"])
            try:
                _same_or_nothing(dataset, row, forbidden, must=False)
            except UserError:
                continue
            assert not gone, f"a reader that was open goes on reading {row['clip_id']}"
    listed = str(read_failures(out.root).to_pylist())
    assert not (found := _found(listed, forbidden)), f"failures name {found}"
    for name in ("README.md", "croissant.json", "sheet.png") if cards else ():
        path = out.root / name
        if path.exists():
            assert not (found := _found(path.read_text(), forbidden)), f"{name} shows {found}"


def _same_or_nothing(dataset: Dataset, row: Row, forbidden: set[str], must: bool) -> None:
    for suffix in SHOWN:
        if any(member["name"] == f"{row['clip_id']}.{suffix}" for member in row["members"]):
            text = dataset.read(row, suffix).decode()
            assert not (found := _found(text, forbidden)), f"{row['clip_id']} {suffix} shows {found}"
    if must:
        assert not (found := _found(str(row), forbidden)), f"the row of {row['clip_id']} names {found}"


def check_traces(out: Output, forbidden: set[str], tmp: bool) -> None:
    """No byte and no file name under the output contains one of the names."""
    for path in sorted(out.root.rglob("*")):
        if not tmp and path.is_relative_to(out.tmp):
            continue
        name = str(path.relative_to(out.root))
        assert not (found := _found(name, forbidden)), f"the name of {name} contains {found}"
        if path.is_file():
            text = path.read_bytes().decode("latin-1")
            if path.suffix == ".parquet":
                text += str(pq.read_table(path).to_pylist())
            assert not (found := _found(text, forbidden)), f"{name} holds {found}"


def check_verified(out: Output) -> None:
    """`verify` finds no fault."""
    if published_names(out.index):
        assert not (faults := verify(out.root).faults), faults


def check_splits(out: Output, people: dict[str, int | None], footage: dict[str, int]) -> None:
    """No person, file, subject or footage is in two splits, and no face is lent across them.

    Args:
        people: token -> person.
        footage: token -> number of the footage.
    """
    homes: dict[tuple[str, Any], str] = {}
    lent: dict[str, str] = {}
    for row in visible(out):
        split = row["split"]
        assert split != CONFLICT
        token = next(token for token in people if token in row["source"])
        things = [("file", row["source"]), ("person", row["person"]), ("footage", footage[token])]
        if row["subject"]:
            things.append(("subject", row["subject"]))
        if people[token] is not None:
            things.append(("face", people[token]))
        for thing in things:
            assert homes.setdefault(thing, split) == split, f"{thing} is in {split} and {homes[thing]}"
        for column in ("donor", "style"):
            if row[column] and row[f"{column}_sha256"] and not row[column].startswith(("grey", "wave")):
                lender = row[f"{column}_sha256"]
                assert lent.setdefault(lender, split) == split, f"{row[column]} is lent to two splits"
                of_set = next((t for t in people if t in row[column]), None)
                if of_set is not None and people[of_set] is not None:
                    thing = ("face", people[of_set])
                    assert homes.setdefault(thing, split) == split, f"{row[column]} is lent across splits"


def _found(text: str, forbidden: set[str]) -> list[str]:
    return sorted(token for token in forbidden if token in text)


def published(root: Path) -> dict[str, bytes]:
    """Content of every file that is the same for equal plans."""
    folders = ("shards", "index", "clips", "failures", "plan/waves", "plan/donors")
    return {
        f"{folder}/{path.name}": path.read_bytes()
        for folder in folders
        for path in sorted((root / folder).glob("*"))
        if path.is_file()
    }
