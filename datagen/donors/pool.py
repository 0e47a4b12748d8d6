"""The frozen donor pool of a wave, and the choice of a donor for each clip."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datagen.common.errors import Refusal
from datagen.common.seeding import keyed_rng
from datagen.donors.donor import Donor
from datagen.imaging.files import decode_image
from datagen.output.publish import read_table
from datagen.output.schema import DONORS, schema_of
from datagen.recipe import Recipe


@dataclass(frozen=True)
class PoolMember:
    """A place in a pool. Withdrawn people keep an empty place, so that the donors of all other clips stay the same.

    Attributes:
        donor: None if the portrait was withdrawn.
        split: split of the clips that may use this donor.
        source, subject, person: who it shows, if it shows a person of the set.
    """

    donor: Donor | None
    split: str
    source: str | None
    subject: str | None
    person: str | None

    def shows(self, source: str, subject: str | None, person: str | None) -> bool:
        """Whether it shows this source, subject or person."""
        return (
            self.source == source
            or (subject is not None and self.subject == subject)
            or (person is not None and self.person == person)
        )


@dataclass(frozen=True)
class Pool:
    """The donors of one wave.

    Attributes:
        name: name of the wave.
        sha256: hash over the portraits of the pool; a purge does not change it.
    """

    name: str
    sha256: str
    members: tuple[PoolMember, ...]

    def style_portraits(
        self, source: str, subject: str | None, person: str | None, split: str
    ) -> list[Donor | None]:
        """Portraits that a clip may take its style from.

        Args:
            source, subject, person, split: of the clip.

        Returns:
            One item for each member of the split; None if it was withdrawn or shows the person of the clip.
        """
        return [
            None if member.shows(source, subject, person) else member.donor
            for member in self.members
            if member.split == split
        ]

    def choose(
        self,
        clip_id: str,
        donor_turn: int,
        split: str,
        embedding: np.ndarray | None,
        source: str,
        subject: str | None,
        person: str | None,
        recipe: Recipe,
    ) -> Iterator[tuple[Donor, float | None]]:
        """Donors to try for a clip, in order, each with its identity distance to the person of the clip.

        The donors of a split are shuffled with the seed. The clip with number `donor_turn` in its split starts at this
        position, so that all donors are used equally often. Donors that are, or look like, the person in the clip are
        skipped.

        Raises:
            Refusal: no donor has another identity, or the identity of the clip is not known.
        """
        if embedding is None and not recipe.donors.unknown_identity:
            raise Refusal(
                "no_donor",
                f"the identity of {clip_id} could not be measured, so no donor is surely another person",
                "set donors.unknown_identity to give it one all the same",
            )
        mine = [member for member in self.members if member.split == split]
        order = keyed_rng(recipe.seed, self.name, split, "donor order").permutation(len(mine))
        nearest = float("inf")
        offered = False
        for step in range(len(order)):
            member = mine[int(order[(donor_turn + step) % len(order)])]
            if member.donor is None or member.shows(source, subject, person):
                continue
            distance = (
                None if embedding is None else float(np.linalg.norm(member.donor.embedding - embedding))
            )
            if distance is None or distance >= recipe.donors.min_distance:
                offered = True
                yield member.donor, distance
            else:
                nearest = min(nearest, distance)
        if offered:
            return
        detail = (
            f"{len(mine)} for {split} clips in the pool" if mine else f"the pool has none for {split} clips"
        )
        if not np.isfinite(nearest):
            raise Refusal("no_donor", f"no donor of another identity for {clip_id}: {detail}", _MORE)
        raise Refusal(
            "no_donor",
            f"no donor of another identity for {clip_id}: {detail}, the farthest is nearer than allowed",
            _MORE,
            "donor_to_source",
            nearest,
            recipe.donors.min_distance,
        )


_MORE = "give more --donors"


def load_pool(path: Path, withdrawn: frozenset[str] = frozenset()) -> Pool:
    """Load a frozen pool. Landmarks and embeddings are stored in it, so no portrait is analysed again.

    Args:
        path: file of the pool.
        withdrawn: sha256 of withdrawn portraits.
    """
    rows = read_table(path, schema=schema_of(DONORS)).to_pylist()
    members = []
    for row in rows:
        if row["reason"] not in (None, "withdrawn"):
            continue
        donor = None
        if row["image"] is not None and row["sha256"] not in withdrawn:
            donor = Donor(
                row["name"],
                decode_image(row["image"]),
                np.asarray(row["landmarks"], np.float32).reshape(-1, 3),
                np.asarray(row["embedding"], np.float32),
                row["sha256"],
                row["licence"],
                row["origin"],
                row["colour"],
                row["score"],
            )
        members.append(PoolMember(donor, row["split"], row["source"], row["subject"], row["person"]))
    digest = hashlib.sha256("\n".join(str(row["sha256"]) for row in rows).encode()).hexdigest()
    return Pool(path.stem, digest, tuple(members))
