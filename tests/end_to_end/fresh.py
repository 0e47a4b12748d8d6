"""Compare a finished output with one that was made without any disturbance."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from datagen.common.errors import UserError
from datagen.output.failures import read_failures
from datagen.output.paths import Output, published_names
from datagen.output.publish import read_tables
from datagen.pipeline import stages
from tests.end_to_end.commands import ENGINE, Place
from tests.end_to_end.films import streams
from tests.end_to_end.invariants import published


def check_as_fresh(place: Place, root: Path) -> None:
    """A new run of the same plan and waves must give the same bytes."""
    fresh = Place(Output(root), place.films, place.donors)
    fresh.out.create()
    _copy(place.out, fresh.out, ["run.json", "plan/roots.json", "plan/sources-*", "plan/waves/w*.json"])
    stages.run(fresh.out, fresh.inputs(), ENGINE, None)
    mine, theirs = published(place.out.root), published(root)
    differing = sorted(name for name in mine.keys() | theirs if mine.get(name) != theirs.get(name))
    assert not differing, f"not as in a fresh run: {differing}"


def check_as_frozen(place: Place, root: Path, contents: list[bytes]) -> None:
    """The frozen waves, made again with all tombstones and every source as it was curated, must give the same bytes.

    Clips that are missing here must have failed. Clips of sources that were curated with two contents do not count.
    """
    fresh = Place(Output(root), root.with_name("curated"), place.donors)
    fresh.out.create()
    wanted = [
        "run.json",
        "plan/roots.json",
        "plan/sources-*",
        "plan/waves/*",
        "plan/donors/*",
        "clips/*",
        "withdrawn/*",
    ]
    _copy(place.out, fresh.out, wanted)
    held = {hashlib.sha256(data).hexdigest(): data for data in contents}
    curated: dict[str, set[str]] = {}
    for row in read_tables(fresh.out.clips, ["source", "source_sha256"]).to_pylist():
        curated.setdefault(row["source"], set()).add(row["source_sha256"])
    fresh.films.mkdir()
    (fresh.films / "none.txt").touch()
    for source, hashes in curated.items():
        if len(hashes) == 1:
            (fresh.films / source).write_bytes(held[min(hashes)])
    stages.synthesise(fresh.out, fresh.inputs((str(fresh.films),)), ENGINE)
    mine, theirs = _streams(place.out), _streams(fresh.out)
    failed = {row["clip_id"] for row in read_failures(place.out.root).to_pylist()}
    for clip in mine.keys() & theirs:
        assert mine[clip] == theirs[clip], f"{clip} differs from what its wave froze"
    assert not (lost := theirs.keys() - mine - failed), f"lost: {lost}"


def _streams(out: Output) -> dict[str, dict[str, str]]:
    try:
        return dict(streams(out)) if published_names(out.index) else {}
    except UserError:
        return {}


def _copy(old: Output, new: Output, patterns: list[str]) -> None:
    for pattern in patterns:
        for path in old.root.glob(pattern):
            if path.is_file():
                target = new.root / path.relative_to(old.root)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
