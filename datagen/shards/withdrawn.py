"""Tombstones: footage whose consent was withdrawn disappears for every reader at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from datagen.errors import UserError
from datagen.layout import Output
from datagen.publish import write_bytes
from datagen.shards.store import Store


@dataclass(frozen=True)
class Withdrawn:
    """Footage nobody may read any more.

    Attributes:
        sources, subjects: withdrawn source videos and people.
        donors: sha256 of portraits of those people; clips that wear their face go with them.
    """

    sources: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()
    donors: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.sources or self.subjects)

    def covers(self, source: str | None, subject: str | None, donor: str | None = None) -> bool:
        """Whether a row of this source, subject and donor is withdrawn."""
        return source in self.sources or subject in self.subjects or donor in self.donors

    def kept(self) -> pc.Expression:
        """Filter over index rows that leaves the withdrawn ones out."""
        sources, subjects, donors = (
            pa.array(sorted(names), pa.string()) for names in (self.sources, self.subjects, self.donors)
        )
        return ~(
            pc.field("source").isin(sources)
            | pc.field("subject").isin(subjects)
            | pc.field("donor_sha256").isin(donors)
        )


def withdraw(
    output: Output, *, source: str | None = None, subject: str | None = None, donors: Iterable[str] = ()
) -> bool:
    """Withdraw all footage of a source or of a subject; False when it was withdrawn before.

    Args:
        donors: sha256 of the portraits that came from it.
    """
    tombstone = {"source": source, "subject": subject, "donors": sorted(donors)}
    if (source is None) == (subject is None):
        raise UserError("name either a source or a subject to withdraw", code=2)
    data = json.dumps(tombstone, sort_keys=True, ensure_ascii=False).encode()
    output.withdrawn.mkdir(exist_ok=True)
    output.tmp.mkdir(exist_ok=True)
    return write_bytes(data, output.withdrawn / f"{hashlib.sha256(data).hexdigest()[:16]}.json", output.tmp)


def read_withdrawn(store: Store) -> Withdrawn:
    """All tombstones of a data set.

    Raises:
        UserError: one cannot be read; it is not skipped, since that would show withdrawn footage.
    """
    sources: set[str] = set()
    subjects: set[str] = set()
    donors: set[str] = set()
    for name in store.names("withdrawn"):
        try:
            tombstone = json.loads(store.read("withdrawn", name))
            source, subject = tombstone["source"], tombstone["subject"]
            donors.update(tombstone["donors"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"withdrawn/{name} of {store.uri} is damaged; withdraw the footage again"
            ) from error
        sources |= {source} - {None}
        subjects |= {subject} - {None}
    return Withdrawn(frozenset(sources), frozenset(subjects), frozenset(donors))
