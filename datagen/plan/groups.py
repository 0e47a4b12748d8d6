"""Group clips that belong together, so that splits and donors never separate them.

Clips are linked by source file, `group`, subject, same person (identity embedding) and same footage (frame hashes).
Each connected component gets one split. A component that contains clips of an earlier wave keeps their split.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from datagen.common.seeding import seed_of
from datagen.output.ids import first_frame, key_hash
from datagen.output.schema import Row
from datagen.plan.links import Links, Node, close_pairs, cluster_labels, same_footage
from datagen.recipe import Split

CONFLICT = "conflict"
"""Used instead of a split if the component contains earlier clips of two splits."""

DIMENSIONS = 128
"""Length of an identity embedding."""

_PIECE = np.uint64(0xFFFF)
_SHIFTS = np.arange(0, 64, 16, dtype=np.uint64)
_SHARED = 3  # copies have at least this many 16-bit pieces of frame hashes in common
_MANY = 20  # with so many portraits every split gets some, even before it has clips
_COMMON = 64  # a piece of a hash that more sources share is ignored, since it is not specific


@dataclass(frozen=True)
class Group:
    """Result for one clip; see the columns of the same names."""

    person: str
    duplicate_of: str | None
    split: str
    component: str


def group_clips(clips: Sequence[Row], earlier: Sequence[Row], settings: Split, seed: int) -> list[Group]:
    """Group the clips of a wave.

    Args:
        clips: rows with `clip_id, source, source_key, source_sha256, dataset, subject, group, embedding,
            frame_hashes`.
        earlier: frozen rows: clips of earlier waves and portraits of their pools, with `person, component, split`, and
            `embedding`, `frame_hashes`, `source_key`, `subject` if they have them.
        settings: split settings of the recipe.
        seed: seed of the recipe.

    Returns:
        One group for each clip, in the same order.
    """
    people = _people(clips, earlier, settings.same_person)
    links = Links()
    for row in earlier:
        for node in (("person", row["person"]), *_belongs_to(row)):
            links.join(("earlier", row["component"]), node)
    for row, persons in zip(clips, people, strict=True):
        for node in (*(("person", person) for person in persons), *_belongs_to(row)):
            links.join(("clip", row["clip_id"]), node)
    file_of = {row["source_key"]: ("file", row["source"]) for row in (*earlier, *clips) if row.get("source")}
    first_of: dict[str, str] = {}
    for late, early in (*_same_bytes(clips, earlier), *_copies(clips, earlier, settings.same_frame)):
        links.join(file_of[late], file_of[early])
        first_of.setdefault(late, key_hash(early))
    settled = {("earlier", row["component"]): row["split"] for row in earlier if row["split"] == CONFLICT}
    settled |= {("earlier", row["component"]): row["split"] for row in earlier if row["split"] != CONFLICT}
    found: dict[Node, tuple[str, str]] = {}
    for members in links.components():
        decided = _id_and_split(members, settled, settings, seed)
        found.update((node, decided) for node in members if node[0] == "clip")
    return [
        Group(persons[0], first_of.get(row["source_key"]), split, component)
        for row, persons, (component, split) in zip(
            clips, people, (found["clip", row["clip_id"]] for row in clips), strict=True
        )
    ]


def divide_portraits(
    portraits: Sequence[str], clips_in: dict[str, int], shares: Split, seed: int
) -> dict[str, str]:
    """Split of portraits that show nobody of the set, so that no donor is used in two splits.

    Validation and test get their share, at least one portrait each. If there are few portraits, only splits that have
    clips get some. Training keeps at least one.

    Args:
        portraits: sha256 of the portraits.
        clips_in: number of clips in each split.
        shares: shares of validation and test.
        seed: seed of the recipe.
    """
    ordered = sorted(set(portraits), key=lambda sha256: seed_of(seed, sha256, "portrait split"))
    result: dict[str, str] = {}
    for name, share in (("val", shares.val), ("test", shares.test)):
        if share and (clips_in.get(name) or len(ordered) >= _MANY):
            free = [sha256 for sha256 in ordered if sha256 not in result]
            count = min(max(1, round(share * len(ordered))), len(free) - 1)
            result.update(dict.fromkeys(free[: max(count, 0)], name))
    return {sha256: result.get(sha256, "train") for sha256 in ordered}


def _belongs_to(row: Row) -> Iterable[Node]:
    """Nodes that a row is linked to by the columns of its source."""
    if row.get("source"):
        yield "file", row["source"]
    if row.get("source_sha256"):
        yield "bytes", row["source_sha256"]
    if row.get("group"):
        yield "group", f"{row.get('dataset')} {row['group']}"
    if row.get("subject"):
        yield "subject", f"{row.get('dataset')} {row['subject']}"


def _people(clips: Sequence[Row], earlier: Sequence[Row], distance: float) -> list[list[str]]:
    """Person ids of each clip: ids from earlier waves, or a hash of the person's first clip.

    The first id is the one of the clip. There are several if a clip links persons of earlier waves, which shows that
    they are the same person.
    """
    links = Links()
    for row in earlier:
        node = ("earlier", row["person"])
        links.join(
            node, ("subject", f"{row.get('dataset')} {row['subject']}") if row.get("subject") else node
        )
    for row in clips:
        clip = ("clip", row["clip_id"])
        links.join(clip, ("subject", f"{row['dataset']} {row['subject']}") if row["subject"] else clip)
    faces, own = _faces(clips, distance, links)
    labels = cluster_labels(own, distance)
    first: dict[int, Node] = {}
    for face, label in zip(faces, labels.tolist(), strict=True):
        links.join(first.setdefault(label, face), face)
    known = [row for row in earlier if row.get("embedding") is not None]
    others = np.asarray([row["embedding"] for row in known], np.float32).reshape(-1, own.shape[1])
    for pairs in close_pairs(own, others, distance):
        for one, other in {(int(labels[one]), known[other]["person"]) for one, other in pairs.tolist()}:
            links.join(first[one], ("earlier", other))
    names: dict[Node, list[str]] = {}
    for members in links.components():
        settled = sorted(name for kind, name in members if kind == "earlier")
        first_clip = min((name for kind, name in members if kind == "clip"), default="")
        persons = settled or [hashlib.sha256(f"person {first_clip}".encode()).hexdigest()[:16]]
        names.update(dict.fromkeys(members, persons))
    return [names["clip", row["clip_id"]] for row in clips]


def _faces(clips: Sequence[Row], distance: float, links: Links) -> tuple[list[Node], np.ndarray]:
    """Group the clips of each source by person; persons of different sources are compared by their mean embedding.

    Returns:
        One clip node for each person of a source, and the mean embeddings (N, D).
    """
    of_source: defaultdict[str, list[Row]] = defaultdict(list)
    for row in clips:
        if row.get("embedding") is not None:
            of_source[row["source_key"]].append(row)
    nodes: list[Node] = []
    means = [np.zeros((0, DIMENSIONS), np.float32)]
    for rows in of_source.values():
        embeddings = np.asarray([row["embedding"] for row in rows], np.float32)
        labels = cluster_labels(embeddings, distance)
        for label in range(labels.max() + 1):
            of_face = np.flatnonzero(labels == label)
            nodes.append(("clip", rows[of_face[0]]["clip_id"]))
            means.append(embeddings[of_face].mean(axis=0, keepdims=True))
            for number in of_face[1:]:
                links.join(nodes[-1], ("clip", rows[number]["clip_id"]))
    return nodes, np.concatenate(means)


def _copies(clips: Sequence[Row], earlier: Sequence[Row], bits: int) -> list[tuple[str, str]]:
    """Pairs of source keys that show the same footage: a source of this wave and an earlier source.

    Earlier means: in an earlier wave, or in this wave with a key that sorts first.
    """
    known = _hashes_of_sources(earlier)
    own = {key: found for key, found in _hashes_of_sources(clips).items() if key not in known}
    keys = [*sorted(known), *sorted(own)]
    hashes = known | own
    pairs = _candidates([hashes[key] for key in keys])
    found = [(keys[late], keys[early]) for early, late in pairs.tolist() if keys[late] in own]
    return [(late, early) for late, early in found if same_footage(hashes[late], hashes[early], bits)]


def _candidates(hashes: Sequence[np.ndarray]) -> np.ndarray:
    """Pairs (P, 2) of indices, ascending, of sources whose hashes share at least `_SHARED` 16-bit pieces.

    Copies share most pieces. Hashes that differ in every piece are not found. Unrelated sources sometimes share one
    piece by chance, but almost never three.
    """
    pieces = [
        np.unique((found[:, None] >> _SHIFTS & _PIECE) | np.arange(4, dtype=np.uint64) << np.uint64(16))
        for found in hashes
    ]
    owners = np.repeat(np.arange(len(pieces)), [len(found) for found in pieces])
    codes = np.concatenate([*pieces, np.zeros(0, np.uint64)])
    order = np.lexsort((owners, codes))
    codes, owners = codes[order], owners[order]
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.zeros(0, np.int64)
    sizes = np.diff(np.r_[starts, len(codes)])
    found = [np.zeros(0, np.int64)]
    for size in np.unique(sizes[(sizes > 1) & (sizes <= _COMMON)]):
        members = owners[starts[sizes == size][:, None] + np.arange(size)]
        one, other = np.triu_indices(size, 1)
        found.append((members[:, one].astype(np.int64) * len(pieces) + members[:, other]).ravel())
    shared, counts = np.unique(np.concatenate(found), return_counts=True)
    return np.stack(np.divmod(shared[counts >= _SHARED], max(len(pieces), 1)), axis=1)


def _same_bytes(clips: Sequence[Row], earlier: Sequence[Row]) -> Iterable[tuple[str, str]]:
    """Pairs of source keys as in `_copies`, of files with equal bytes, of any length."""
    first: dict[str, str] = {}
    for row in (*earlier, *sorted(clips, key=lambda row: str(row["source_key"]))):
        if row.get("source_sha256") and row.get("source_key"):
            early = first.setdefault(row["source_sha256"], row["source_key"])
            if early != row["source_key"]:
                yield row["source_key"], early


def _hashes_of_sources(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """Source key -> hashes of all its clips in the order of time; a single clip may have too few."""
    found: defaultdict[str, list[tuple[int, np.ndarray]]] = defaultdict(list)
    for row in rows:
        hashes = row.get("frame_hashes")
        if hashes is not None and len(hashes):
            found[row["source_key"]].append((first_frame(row["clip_id"]), np.asarray(hashes, np.uint64)))
    return {
        key: np.concatenate([hashes for _, hashes in sorted(parts, key=lambda part: part[0])])
        for key, parts in found.items()
    }


def _id_and_split(
    members: Iterable[tuple[str, str]], settled: dict[tuple[str, str], str], shares: Split, seed: int
) -> tuple[str, str]:
    """Id and split of a component."""
    members = sorted(members)
    known = sorted(node for node in members if node in settled)
    if known:
        splits = {settled[node] for node in known} - {CONFLICT}
        return known[0][1], splits.pop() if len(splits) == 1 else CONFLICT
    first = min((name for kind, name in members if kind == "clip"), default=members[0][1])
    share = seed_of(seed, first, "split") / 2**64
    split = "test" if share < shares.test else "val" if share < shares.test + shares.val else "train"
    return hashlib.sha256(f"component {first}".encode()).hexdigest()[:16], split
