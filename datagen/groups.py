"""What belongs together: components of footage and people, which splits and donors must never divide.

Clips are joined by source file, `group`, subject, same person (identity embedding) and same footage (frame hashes).
Every component gets one split; one that touches clips of an earlier wave takes theirs.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from datagen.curate.hashes import same_footage
from datagen.recipe import Split
from datagen.seeding import seed_of

Row = dict[str, Any]
CONFLICT = "conflict"
"""In place of a split: the component touches earlier clips of two splits."""

_BLOCK = 4096  # rows compared at once; bounds memory to 64 MB
_BAND = np.uint64(0xFFFF)
_MANY = 20  # portraits, of which every split gets some even before it has clips
_COMMON = 256  # clips with one 16-bit piece of a hash; a piece that more of them share tells nothing


@dataclass(frozen=True)
class Group:
    """What was found for one clip; see the columns of the same names."""

    person: str
    duplicate_of: str | None
    split: str
    component: str


def group_clips(clips: Sequence[Row], earlier: Sequence[Row], settings: Split, seed: int) -> list[Group]:
    """Group the clips of a wave.

    Args:
        clips: rows with `clip_id, source, source_key, source_sha256, dataset, subject, group, embedding,
            frame_hashes`.
        earlier: rows that are settled: clips of earlier waves and portraits of their pools, with `person, component,
            split`, and `embedding`, `frame_hashes`, `source_key`, `subject` where there are any.
        settings: of the splits.
        seed: of the recipe.

    Returns:
        One group for each clip, in their order.
    """
    people = _people(clips, earlier, settings.same_person)
    copies = _copies(clips, earlier, settings.same_frame)
    joined = DisjointSet([("clip", row["clip_id"]) for row in clips])
    for row in clips:
        clip = ("clip", row["clip_id"])
        for node in _belongs_to(row):
            joined.add(node)
            joined.merge(clip, node)
    for row in earlier:
        for node in (("was", row["component"]), ("person", row["person"]), *_belongs_to(row)):
            joined.add(node)
            joined.merge(("was", row["component"]), node)
    for row, person in zip(clips, people, strict=True):
        joined.add(("person", person))
        joined.merge(("clip", row["clip_id"]), ("person", person))
    for one, other in copies:
        joined.add(other)
        joined.merge(("clip", clips[one]["clip_id"]), other)
    settled = {("was", row["component"]): row["split"] for row in earlier}
    first_of = _first_copies(clips, earlier, copies)
    splits: dict[tuple[str, str], tuple[str, str]] = {}
    for members in joined.subsets():
        component, split = _settle(members, settled, settings, seed)
        splits.update((node, (component, split)) for node in members if node[0] == "clip")
    return [
        Group(
            person, first_of.get(number), splits["clip", row["clip_id"]][1], splits["clip", row["clip_id"]][0]
        )
        for number, (row, person) in enumerate(zip(clips, people, strict=True))
    ]


def divide_portraits(
    portraits: Sequence[str], clips_in: dict[str, int], shares: Split, seed: int
) -> dict[str, str]:
    """Split of portraits that show nobody of the set, so that no face is lent to two splits.

    Validation and test get their share, at least one portrait each; of few portraits, only where they have clips.
    Training keeps at least one.

    Args:
        portraits: their sha256.
        clips_in: clips of each split.
        shares: of validation and test.
        seed: of the recipe.
    """
    ordered = sorted(set(portraits), key=lambda sha256: seed_of(seed, sha256, "portrait split"))
    result: dict[str, str] = {}
    for name, share in (("val", shares.val), ("test", shares.test)):
        if share and (clips_in.get(name) or len(ordered) >= _MANY):
            free = [sha256 for sha256 in ordered if sha256 not in result]
            count = min(max(1, round(share * len(ordered))), len(free) - 1)
            result.update(dict.fromkeys(free[: max(count, 0)], name))
    return {sha256: result.get(sha256, "train") for sha256 in ordered}


def near(rows: np.ndarray, others: np.ndarray, distance: float) -> Iterable[tuple[int, int]]:
    """Pairs of rows (N, D) and others (M, D) closer than a distance, in blocks."""
    if not len(rows) or not len(others):
        return
    squares = (others * others).sum(axis=1)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        for begin in range(0, len(others), _BLOCK):
            other = others[begin : begin + _BLOCK]
            squared = (
                (block * block).sum(axis=1)[:, None] + squares[begin : begin + _BLOCK] - 2 * block @ other.T
            )
            for one, two in zip(*np.nonzero(squared < distance * distance), strict=True):
                yield start + int(one), begin + int(two)


def _belongs_to(row: Row) -> Iterable[tuple[str, str]]:
    """Nodes that a row is part of by what is known of its source."""
    if row.get("source"):
        yield "file", row["source"]
    if row.get("source_sha256"):
        yield "bytes", row["source_sha256"]
    if row.get("group"):
        yield "group", f"{row.get('dataset')} {row['group']}"
    if row.get("subject"):
        yield "subject", f"{row.get('dataset')} {row['subject']}"


def _people(clips: Sequence[Row], earlier: Sequence[Row], distance: float) -> list[str]:
    """Name of the person in each clip: that of an earlier one of theirs, or a hash of their first clip."""
    joined = DisjointSet([("clip", row["clip_id"]) for row in clips])

    def join(one: tuple[str, str], other: tuple[str, str]) -> None:
        joined.add(other)
        joined.merge(one, other)

    for row in earlier:
        joined.add(("was", row["person"]))
        if row.get("subject"):
            join(("was", row["person"]), ("subject", f"{row.get('dataset')} {row['subject']}"))
    for row in clips:
        if row["subject"]:
            join(("clip", row["clip_id"]), ("subject", f"{row['dataset']} {row['subject']}"))
    mine, own = _embeddings(clips)
    theirs, others = _embeddings(earlier)
    for one, other in near(own, own, distance):
        if one < other:
            joined.merge(("clip", clips[mine[one]]["clip_id"]), ("clip", clips[mine[other]]["clip_id"]))
    for one, other in near(own, others, distance):
        joined.merge(("clip", clips[mine[one]]["clip_id"]), ("was", earlier[theirs[other]]["person"]))
    names: dict[tuple[str, str], str] = {}
    for members in joined.subsets():
        known = sorted(name for kind, name in members if kind == "was")
        first = min((name for kind, name in members if kind == "clip"), default="")
        person = known[0] if known else hashlib.sha256(f"person {first}".encode()).hexdigest()[:16]
        names.update(dict.fromkeys(members, person))
    return [names["clip", row["clip_id"]] for row in clips]


def _embeddings(rows: Sequence[Row]) -> tuple[list[int], np.ndarray]:
    """Numbers of the rows that have an embedding, and these as one array."""
    having = [number for number, row in enumerate(rows) if row.get("embedding") is not None]
    found = [np.asarray(rows[number]["embedding"], np.float32) for number in having]
    return having, np.stack(found) if found else np.zeros((0, 128), np.float32)


def _copies(clips: Sequence[Row], earlier: Sequence[Row], bits: int) -> list[tuple[int, tuple[str, str]]]:
    """Pairs of a clip's number and the node of another clip, or of an earlier component, with the same footage."""
    rows = [*clips, *earlier]
    bands: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    hashes = [_hashes(row) for row in rows]
    for number, found in enumerate(hashes):
        for band in range(4):
            for value in np.unique(found >> np.uint64(16 * band) & _BAND).tolist():
                bands[band, value].add(number)
    pairs = {
        (one, other)
        for numbers in bands.values()
        if len(numbers) <= _COMMON
        for one in numbers
        if one < len(clips)
        for other in numbers
        if one < other and rows[one]["source_key"] != rows[other].get("source_key")
    }
    same = sorted(pair for pair in pairs if same_footage(hashes[pair[0]], hashes[pair[1]], bits))
    return [
        (one, ("clip", rows[other]["clip_id"]) if other < len(clips) else ("was", rows[other]["component"]))
        for one, other in same
    ]


def _hashes(row: Row) -> np.ndarray:
    found = row.get("frame_hashes")
    return np.asarray(() if found is None else found, np.uint64)


def _first_copies(
    clips: Sequence[Row], earlier: Sequence[Row], copies: list[tuple[int, tuple[str, str]]]
) -> dict[int, str]:
    """For each clip whose footage is there before it, the source key of the first one."""
    number_of = {row["clip_id"]: number for number, row in enumerate(clips)}
    earlier_key = {row["component"]: row.get("source_key") for row in reversed(earlier)}
    first: dict[int, str] = {}
    for one, (kind, name) in copies:
        if kind == "was":
            if earlier_key.get(name):
                first[one] = str(earlier_key[name])
        else:
            early, late = sorted((one, number_of[name]), key=lambda n: str(clips[n]["source_key"]))
            key = str(clips[early]["source_key"])
            first[late] = min(first.get(late, key), key)
    return first


def _settle(
    members: Iterable[tuple[str, str]], settled: dict[tuple[str, str], str], shares: Split, seed: int
) -> tuple[str, str]:
    """Name and split of a component."""
    members = sorted(members)
    known = sorted(node for node in members if node in settled)
    if known:
        splits = {settled[node] for node in known} - {CONFLICT}
        return known[0][1], splits.pop() if len(splits) == 1 else CONFLICT
    first = min((name for kind, name in members if kind == "clip"), default=members[0][1])
    share = seed_of(seed, first, "split") / 2**64
    split = "test" if share < shares.test else "val" if share < shares.test + shares.val else "train"
    return hashlib.sha256(f"component {first}".encode()).hexdigest()[:16], split
