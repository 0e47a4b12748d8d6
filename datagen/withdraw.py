"""Withdraw people whose consent was revoked, and delete their bytes.

From `remove` on nobody sees them: readers, pools, workers and cards look at the tombstones. `compact --purge` then
deletes what shows or names them anywhere under the output. Clips that wear their face are asked for again.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from datagen.demo import portraits as bundled_portraits
from datagen.errors import Refusal, UserError
from datagen.freeze import blank_donor
from datagen.layout import SHARD_NAME, Output, names
from datagen.pictures import image_files, image_sha256
from datagen.plan import read_plan
from datagen.publish import read_table, replace
from datagen.record import read_record
from datagen.retry import plan_worn, read_retries
from datagen.schema import CLIPS, DONORS, FAILURES, PLAN, WAVE, schema_of
from datagen.shards.compact import compact_index
from datagen.shards.purge import purge_unit, rewrite
from datagen.shards.reader import Dataset
from datagen.shards.store import Store
from datagen.shards.withdrawn import BLANK, Withdrawn, read_withdrawn, source_hash, withdraw
from datagen.text import shown

Row = dict[str, Any]


def remove(
    out: Output, *, source: str | None = None, subject: str | None = None, donor: str | None = None
) -> str:
    """Hide a source, a person or a portrait from every reader at once, also where the face was lent to others.

    Returns:
        What was withdrawn, and what to do next.

    Raises:
        UserError: the output knows no such source, subject or donor.
    """
    before, worn = _shown(out)
    if donor is not None:
        kind, name = "donor", donor
        fresh = withdraw(out, portraits=_portraits_named(out, donor))
    else:
        kind, name = ("source", source) if source is not None else ("subject", str(subject))
        plan = read_plan(out, ["source", "subject"]).to_pylist()
        _require_known(out, kind, str(name), {row[kind] for row in plan})
        sources = {row["source"] for row in plan if row[kind] == name}
        fresh = withdraw(
            out, sources=sources, subject=subject, portraits=_portraits_of(out, sources, subject)
        )
    plan_worn(out)
    again = len(
        {clip for retry in read_retries(out) for clips in retry.units.values() for clip in clips} & worn
    )
    after, _ = _shown(out)
    done = "withdrawn" if fresh else "was withdrawn before"
    text = f"{kind} {name}: {done}; {before - after} clips hidden from every reader"
    if again:
        text += f", {again} of them since they wear the face: `run`, `synthesise` or `retry` makes them again"
    return f"{text}; megactor-datagen compact {out.root} --purge deletes the bytes"


def compact(out: Output, *, purge: bool = False) -> str:
    """Merge the index pieces into one file; with `purge`, delete withdrawn footage first.

    A purge that is interrupted can be repeated.
    """
    deleted, damaged = purge_all(out) if purge else (0, 0)
    pieces = names(out.index)
    if not pieces:
        raise UserError(f"{out.root} holds no finished unit: nothing to compact")
    rows = compact_index(out)
    text = f"{rows} rows of {len(pieces)} units merged into {out.compacted / 'index.parquet'}"
    if purge:
        text += f"; bytes of {deleted} withdrawn clips deleted"
    if damaged:
        text += f"; {damaged} clips that were kept were damaged before: `verify --repair` makes them again"
    return text


def purge_all(out: Output) -> tuple[int, int]:
    """Delete what shows or names withdrawn people, everywhere under the output.

    Returns:
        Clips whose bytes went, and kept clips that were found damaged.
    """
    withdrawn = read_withdrawn(Store.open(out.root))
    out.clear_stale_tmp()
    if not withdrawn:
        return 0, 0
    plan_worn(out)  # before the rows that name them go
    for path in out.compacted.glob("*.parquet"):
        path.unlink(missing_ok=True)
    deleted = damaged = 0
    for unit in sorted(names(out.index)):
        gone, hurt = purge_unit(out, unit, withdrawn)
        deleted, damaged = deleted + gone, damaged + hurt
    _drop_precomputed(out)
    named = _clips_named(out, withdrawn)
    for folder, columns in (("clips", CLIPS), ("plan/waves", WAVE), ("failures", FAILURES)):
        for name in sorted(names(out.root / folder)):
            rows = read_table(out.root / folder / f"{name}.parquet", schema=schema_of(columns)).to_pylist()
            kept = [row for row in rows if not withdrawn.covers(row["source"], row.get("subject"))]
            kept = [_without_copy(row, withdrawn) for row in kept]
            if kept != rows:
                rewrite(out, folder, name, columns, kept)
    for name in sorted(names(out.donors)):
        _blank_donors(out, "plan/donors", name, withdrawn)
    for path in out.portraits.glob("*.parquet"):
        path.unlink(missing_ok=True)  # of a pool that is being frozen: they are cut again
    for name in sorted(names(out.plan)):
        _blank_plan(out, name, withdrawn)
    _scrub_retries(out, named)
    for path in out.logs.glob("**/*.log"):
        path.unlink(missing_ok=True)
    return deleted, damaged


def _shown(out: Output) -> tuple[int, set[str]]:
    """How many clips a reader sees, and their ids."""
    try:
        ids = set(Dataset(out.root, columns=["clip_id"]).table["clip_id"].to_pylist())
    except UserError:
        return 0, set()  # nothing published yet
    return len(ids), ids


def _require_known(out: Output, kind: str, name: str, known: set[str | None]) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, sorted(filter(None, known)), n=1)
    raise UserError(f"no {kind} {name!r} in {out.root}" + (f"; did you mean {near[0]!r}?" if near else ""))


def _portraits_of(out: Output, sources: set[str], subject: str | None) -> Iterable[str]:
    """Hashes of the portraits cut from these sources, or from footage of this subject."""
    for folder in (out.donors, out.portraits):
        for name in names(folder):
            for row in read_table(
                folder / f"{name}.parquet", ["sha256", "source", "subject", "name"]
            ).to_pylist():
                own = row["source"] in sources or (subject is not None and row["subject"] == subject)
                if own and row["sha256"] is not None:
                    yield row["sha256"]


def _portraits_named(out: Output, donor: str) -> set[str]:
    """Hashes of the portraits of this name in the frozen pools, the donors folder and the bundled ones."""
    found: dict[str, set[str]] = {}
    for name in names(out.donors):
        for row in read_table(out.donors / f"{name}.parquet", ["name", "sha256"]).to_pylist():
            if row["sha256"] is not None:
                found.setdefault(row["name"], set()).add(row["sha256"])
    folder = (read_record(out) or {}).get("donors")
    if folder and Path(folder).is_dir():
        for path in image_files(Path(folder)):
            with suppress(Refusal):  # a picture that cannot be read lends no face
                found.setdefault(shown(path.relative_to(folder)), set()).add(image_sha256(path))
    elif not folder:
        for portrait in bundled_portraits():
            sha256 = hashlib.sha256(portrait.image.tobytes()).hexdigest()
            found.setdefault(portrait.name, set()).add(sha256)
    _require_known(out, "donor", donor, set(found))
    return found[donor]


def _clips_named(out: Output, withdrawn: Withdrawn) -> set[str]:
    """Ids of withdrawn clips, wherever a table still names them."""
    found: set[str] = set()
    for folder in (out.clips, out.waves):
        for name in names(folder):
            for row in read_table(folder / f"{name}.parquet", ["clip_id", "source", "subject"]).to_pylist():
                if withdrawn.covers(row["source"], row["subject"]):
                    found.add(row["clip_id"])
    return found


def _without_copy(row: Row, withdrawn: Withdrawn) -> Row:
    """The row without the name of a withdrawn source that shows the same footage."""
    original = row.get("duplicate_of")
    if original is None or not withdrawn.covers(original, None):
        return row
    return {**row, "duplicate_of": None}


def _blank_donors(out: Output, folder: str, name: str, withdrawn: Withdrawn) -> None:
    rows = read_table(out.root / folder / f"{name}.parquet", schema=schema_of(DONORS)).to_pylist()
    kept = [
        {**dict.fromkeys(row), **blank_donor(row, number)}
        if withdrawn.covers(row["source"], row["subject"], row["sha256"])
        else row
        for number, row in enumerate(rows)
    ]
    if kept != rows:
        rewrite(out, folder, name, DONORS, kept)


def _blank_plan(out: Output, name: str, withdrawn: Withdrawn) -> None:
    """Rows of the plan stay, so that parts keep their places, but name nobody."""
    rows = read_table(out.plan / f"{name}.parquet", schema=schema_of(PLAN)).to_pylist()
    kept = [_blank_source(row) if withdrawn.covers(row["source"], row["subject"]) else row for row in rows]
    if kept != rows:
        rewrite(out, "plan", name, PLAN, kept)


def _blank_source(row: Row) -> Row:
    source = row["source"] if row["source"].startswith(BLANK) else BLANK + source_hash(row["source"])
    blank = {
        "source": source,
        "source_key": source,
        "name": "withdrawn",
        "path": b"",
        "member": "",
        "size": 0,
    }
    return {**dict.fromkeys(row), "part": row["part"], "root": row["root"], **blank}


def _scrub_retries(out: Output, named: set[str]) -> None:
    """Drop withdrawn clips and sources from what was asked for again."""
    keys = set(read_plan(out, ["source_key"])["source_key"].to_pylist())
    for retry in read_retries(out):
        parts = {part: [key for key in wanted if key in keys] for part, wanted in retry.parts.items()}
        units = {unit: [clip for clip in clips if clip not in named] for unit, clips in retry.units.items()}
        if parts != retry.parts or units != retry.units:
            held = {"number": retry.number, "parts": parts, "units": units}
            data = json.dumps(held, indent=1, sort_keys=True).encode()
            replace(data, out.retries / f"{retry.name}.json", out.tmp)


def _drop_precomputed(out: Output) -> None:
    """Delete the latents of units that hold withdrawn clips; `precompute` makes the others' again."""
    for path in sorted((out.precomputed / "index").glob("*.parquet")):
        kept = out.index / path.name
        clips = set(read_table(path, ["clip_id"])["clip_id"].to_pylist())
        if kept.exists() and clips <= set(read_table(kept, ["clip_id"])["clip_id"].to_pylist()):
            continue
        path.unlink()
        for shard in out.precomputed.glob(f"{path.stem}-*.tar"):
            match = SHARD_NAME.fullmatch(shard.name)
            if match is not None and match["unit"] == path.stem:
                shard.unlink()
