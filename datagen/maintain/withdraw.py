"""Withdraw people who revoked their consent: all readers stop showing them at once.

Readers, pools, workers and cards obey the tombstones; `maintain/purge.py` deletes the bytes later. A retry is recorded
for clips whose donor or style was withdrawn.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from datagen.bundled.demo_set import portraits as bundled_portraits
from datagen.common.errors import Refusal, UserError
from datagen.common.hashing import pixels_sha256
from datagen.common.text import shown
from datagen.imaging.files import image_files, image_sha256
from datagen.output.paths import Output, published_names
from datagen.output.publish import read_table
from datagen.output.tombstones import withdraw
from datagen.pipeline.retries import plan_remakes, read_retries
from datagen.pipeline.run_record import read_record
from datagen.plan.parts import read_plan
from datagen.shards.reader import Dataset


def remove(
    out: Output, *, source: str | None = None, subject: str | None = None, donor: str | None = None
) -> str:
    """Hide a source, a person or a portrait from all readers at once, including clips with this person as donor.

    Returns:
        What was withdrawn, and what to do next.

    Raises:
        UserError: the output has no such source, subject or donor.
    """
    before, visible = _visible_clips(out)
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
    plan_remakes(out)
    again = len(
        {clip for retry in read_retries(out) for clips in retry.units.values() for clip in clips} & visible
    )
    after, _ = _visible_clips(out)
    done = "withdrawn" if fresh else "was withdrawn before"
    text = f"{kind} {name}: {done}; {before - after} clips hidden from every reader"
    if again:
        text += f", {again} of them because they use the portrait: `run`, `synthesise` or `retry` makes them again"
    return f"{text}; megactor-datagen compact {out.root} --purge deletes the bytes"


def _visible_clips(out: Output) -> tuple[int, set[str]]:
    """Number of clips that a reader sees, and their ids."""
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
    """Hashes of the portraits that were cut from these sources or from footage of this subject."""
    for folder in (out.donors, out.portraits):
        for name in published_names(folder):
            for row in read_table(
                folder / f"{name}.parquet", ["sha256", "source", "subject", "name"]
            ).to_pylist():
                own = row["source"] in sources or (subject is not None and row["subject"] == subject)
                if own and row["sha256"] is not None:
                    yield row["sha256"]


def _portraits_named(out: Output, donor: str) -> set[str]:
    """Hashes of the portraits with this name: in frozen pools, folders of donors and styles, and the bundled ones."""
    found: dict[str, set[str]] = {}
    for name in published_names(out.donors):
        for row in read_table(out.donors / f"{name}.parquet", ["name", "sha256"]).to_pylist():
            if row["sha256"] is not None:
                found.setdefault(row["name"], set()).add(row["sha256"])
    record = read_record(out) or {}
    for folder in filter(None, (record.get("donors"), record.get("styles"))):
        for path in image_files(Path(folder)) if Path(folder).is_dir() else ():
            with suppress(Refusal):  # a picture that cannot be read is never used
                found.setdefault(shown(path.relative_to(folder)), set()).add(image_sha256(path))
    if not record.get("donors"):
        for portrait in bundled_portraits():
            found.setdefault(portrait.name, set()).add(pixels_sha256(portrait.image))
    _require_known(out, "donor", donor, set(found))
    return found[donor]
