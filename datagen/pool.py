"""The donor pool: who may lend a face, frozen with a hash before synthesis begins."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datagen.demo import portraits as bundled_portraits
from datagen.errors import Refusal
from datagen.faces import FaceAnalyser
from datagen.layout import Output
from datagen.operations.donor import Donor, check_portrait
from datagen.pictures import decode_image, folder_licences, image_files
from datagen.publish import write_table
from datagen.recipe import Recipe
from datagen.seeding import rng
from datagen.text import shown

SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("origin", pa.string()),
        ("licence", pa.string()),
        ("source", pa.string()),
        ("subject", pa.string()),
        ("sha256", pa.string()),
        ("score", pa.float32()),
        ("embedding", pa.list_(pa.float32())),
        ("image", pa.binary()),
        ("reason", pa.string()),
        ("message", pa.string()),
    ]
)


@dataclass(frozen=True)
class Portrait:
    """A candidate donor before it was looked at.

    Attributes:
        name: unique in the pool.
        image: PNG or JPEG bytes; its sha256 is the donor's.
        origin: `donors`, `set` or `bundled`.
        source, subject: whose face it is, for candidates from the set.
    """

    name: str
    image: bytes
    origin: str
    licence: str
    source: str | None = None
    subject: str | None = None


@dataclass(frozen=True)
class Pool:
    """Usable donors of one pool and the hash of the file that froze them."""

    sha256: str
    donors: tuple[Donor, ...]
    sources: tuple[tuple[str | None, str | None], ...]

    def others(self, source: str, subject: str | None) -> list[Donor]:
        """Donors that are not taken from this source or subject."""
        return [donor for n, donor in enumerate(self.donors) if not self._is_of(n, source, subject)]

    def choose(
        self,
        clip_id: str,
        rank: int,
        embedding: np.ndarray | None,
        source: str,
        subject: str | None,
        recipe: Recipe,
    ) -> tuple[Donor, float | None]:
        """Donor of a clip, and its identity distance to the clip's person.

        Clips take donors in turn (`rank` counts the clips of the pool) from an order shuffled by the seed, so that
        donors are balanced; whoever is, or looks like, the person in the clip is passed over.

        Raises:
            Refusal: nobody of another identity is left.
        """
        order = rng(recipe.seed, self.sha256, "donor order").permutation(len(self.donors))
        nearest = float("inf")
        for turn in range(len(order)):
            position = int(order[(rank + turn) % len(order)])
            donor = self.donors[position]
            if self._is_of(position, source, subject):
                continue
            if embedding is None:
                return donor, None
            distance = float(np.linalg.norm(donor.embedding - embedding))
            nearest = min(nearest, distance)
            if distance >= recipe.donors.min_distance:
                return donor, distance
        detail = "the pool is empty" if not self.donors else f"{len(self.donors)} in the pool"
        if np.isfinite(nearest):
            detail += f", the nearest allowed distance is {recipe.donors.min_distance:g}"
        raise Refusal(
            "no_donor", f"no donor of another identity for {clip_id}: {detail}", "give more --donors"
        )

    def _is_of(self, position: int, source: str, subject: str | None) -> bool:
        donor_source, donor_subject = self.sources[position]
        return donor_source == source or (subject is not None and donor_subject == subject)


def pool_files(out: Output) -> dict[Path, tuple[str, str]]:
    """Frozen pools in order, each with the first and last part it serves."""
    found = {}
    for path in sorted(out.donors.glob("*-*.parquet")):
        first, last = path.stem.split("-")
        found[path] = (first, last)
    return found


def freeze_pool(
    out: Output, parts: list[str], donors: Path | None, recipe: Recipe, analyser: FaceAnalyser
) -> Path:
    """Check the candidates for these parts and publish the pool; an existing file wins."""
    final = out.donors / f"{parts[0]}-{parts[-1]}.parquet"
    if final.exists():
        return final
    candidates = _of_folder(donors) if donors is not None else _of_set(out, parts, recipe)
    rows = []
    accepted: list[np.ndarray] = []
    for portrait in candidates:
        row = _checked(portrait, recipe, analyser, accepted)
        rows.append(row)
        if row["reason"] is None:
            accepted.append(np.asarray(row["embedding"], np.float32))
        if len(accepted) >= recipe.donors.max_pool:
            break
    write_table(pa.Table.from_pylist(rows, schema=SCHEMA), final, out.tmp)
    return final


def load_pool(path: Path, analyser: FaceAnalyser, withdrawn: frozenset[str] = frozenset()) -> Pool:
    """Usable donors of a frozen pool; landmarks are found again in the stored image.

    Args:
        withdrawn: sha256 of portraits nobody may use any more.
    """
    donors = []
    sources = []
    for row in pq.read_table(path).to_pylist():
        if row["reason"] is None and row["sha256"] not in withdrawn:
            donor = check_portrait(
                decode_image(row["image"]), analyser, name=row["name"], licence=row["licence"], origin=row["origin"],
                sha256=row["sha256"], allow_drawn=True,
            )  # fmt: skip
            donors.append(donor)
            sources.append((row["source"], row["subject"]))
    return Pool(hashlib.sha256(path.read_bytes()).hexdigest(), tuple(donors), tuple(sources))


def _of_folder(folder: Path) -> Iterator[Portrait]:
    licences = folder_licences(folder)
    for path in image_files(folder):
        name = shown(path.relative_to(folder))
        yield Portrait(name, path.read_bytes(), "donors", licences.get(name, "unstated"))


def _of_set(out: Output, parts: list[str], recipe: Recipe) -> Iterator[Portrait]:
    """The other people of the set, best frame of each source, then the bundled portraits."""
    if recipe.donors.from_set:
        columns = ["clip_id", "source", "subject", "licence", "donor_score", "donor_image"]
        best: dict[str, dict[str, object]] = {}
        for part in parts:
            path = out.clips / f"{part}.parquet"
            for row in pq.read_table(path, columns=columns).to_pylist() if path.exists() else ():
                key = f"{row['subject'] or row['source']}"
                score = row["donor_score"]
                if score is not None and (key not in best or score > best[key]["donor_score"]):
                    best[key] = row
        for row in sorted(
            best.values(), key=lambda item: (-float(str(item["donor_score"])), str(item["clip_id"]))
        ):
            image = row["donor_image"]
            if isinstance(image, bytes):
                yield Portrait(
                    str(row["clip_id"]), image, "set", str(row["licence"]), str(row["source"]),
                    None if row["subject"] is None else str(row["subject"]),
                )  # fmt: skip
    if recipe.donors.bundled:
        for portrait in bundled_portraits():
            done, data = cv2.imencode(".png", cv2.cvtColor(portrait.image, cv2.COLOR_RGB2BGR))
            if done:
                yield Portrait(portrait.name, data.tobytes(), "bundled", portrait.licence)


def _checked(
    portrait: Portrait, recipe: Recipe, analyser: FaceAnalyser, accepted: list[np.ndarray]
) -> dict[str, object]:
    """Pool row of a candidate; rejected ones keep their reason and lose their picture."""
    row: dict[str, object] = {
        "name": portrait.name,
        "origin": portrait.origin,
        "licence": portrait.licence,
        "source": portrait.source,
        "subject": portrait.subject,
        "sha256": hashlib.sha256(portrait.image).hexdigest(),
    }
    try:
        donor = check_portrait(decode_image(portrait.image), analyser, allow_drawn=recipe.donors.drawn)
        distances = [float(np.linalg.norm(donor.embedding - other)) for other in accepted]
        if portrait.origin != "donors" and distances and min(distances) < recipe.donors.min_distance:
            raise Refusal("same_person", f"{min(distances):.2f} from a donor already in the pool")
    except Refusal as refusal:
        return row | {"reason": refusal.reason, "message": refusal.message}
    return row | {
        "score": donor.score,
        "embedding": donor.embedding.tolist(),
        "image": portrait.image,
        "reason": None,
    }
