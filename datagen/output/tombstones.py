"""Tombstones hide withdrawn footage and portraits from all readers at once.

A tombstone holds hashes, never names, so that it can be kept after all data of the person was deleted.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from datagen.common.errors import UserError
from datagen.output.paths import Output
from datagen.output.publish import write_bytes
from datagen.output.store import Store

LOOK_S = 10.0
"""Tombstones of an object store are listed at most once in this time, in seconds."""

BLANK = "withdrawn:"
"""Prefix of the hash that replaces a source's name in rows that a purge must keep."""


@dataclass(frozen=True)
class Withdrawn:
    """Everything that was withdrawn.

    Attributes:
        sources, subjects: hashes of source videos and of person ids, see `source_hash` and `subject_hash`.
        portraits: sha256 of portraits that may no longer be used as donor or style.
    """

    sources: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()
    portraits: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.sources or self.subjects or self.portraits)

    def covers(self, source: str | None, subject: str | None, *portraits: str | None) -> bool:
        """Whether a row with this source, this subject and these donor or style portraits is withdrawn."""
        if not self:
            return False
        return (
            (source is not None and (source.startswith(BLANK) or source_hash(source) in self.sources))
            or (subject is not None and subject_hash(subject) in self.subjects)
            or any(portrait in self.portraits for portrait in portraits)
        )

    def hidden(self, rows: pa.Table) -> pc.Expression:
        """Filter expression that selects the withdrawn rows of the index.

        Args:
            rows: the columns `source` and `subject` of the index; a filter can compare names but not hashes.
        """
        sources = _names(rows["source"], lambda name: self.covers(name, None))
        subjects = _names(rows["subject"], lambda name: self.covers(None, name))
        portraits = pa.array(sorted(self.portraits), pa.string())
        tests = (
            pc.field("source").isin(sources),
            pc.field("subject").isin(subjects),
            pc.field("donor_sha256").isin(portraits),
            pc.field("style_sha256").isin(portraits),
        )
        return reduce(lambda one, other: one | other, tests)


def source_hash(source: str) -> str:
    """Hash of a source's name for tombstones."""
    return hashlib.sha256(f"source\x1f{source}".encode()).hexdigest()[:32]


def subject_hash(subject: str) -> str:
    """Hash of a person's id for tombstones."""
    return hashlib.sha256(f"subject\x1f{subject}".encode()).hexdigest()[:32]


def withdraw(
    output: Output,
    *,
    sources: Iterable[str] = (),
    subject: str | None = None,
    portraits: Iterable[str] = (),
) -> bool:
    """Withdraw sources, a person and portraits; returns False if exactly this was withdrawn before.

    Args:
        output: the data set.
        sources: source videos, including those of the subject, since some rows do not state their subject.
        subject: person id.
        portraits: sha256 of the portraits that show the person.
    """
    tombstone = {
        "sources": sorted({source_hash(source) for source in sources}),
        "subjects": [] if subject is None else [subject_hash(subject)],
        "portraits": sorted(set(portraits)),
    }
    data = json.dumps(tombstone, sort_keys=True).encode()
    output.withdrawn.mkdir(exist_ok=True)
    output.tmp.mkdir(exist_ok=True)
    return write_bytes(data, output.withdrawn / f"{hashlib.sha256(data).hexdigest()[:16]}.json", output.tmp)


def read_withdrawn(store: Store) -> Withdrawn:
    """All tombstones of a data set.

    Raises:
        UserError: one cannot be read; skipping it would show withdrawn footage.
    """
    held: dict[str, set[str]] = {"sources": set(), "subjects": set(), "portraits": set()}
    for name in store.names("withdrawn"):
        try:
            tombstone = json.loads(store.read("withdrawn", name))
            for key, hashes in held.items():
                if not all(isinstance(item, str) for item in tombstone[key]):
                    raise TypeError("values of other types")
                hashes.update(tombstone[key])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"withdrawn/{name} of {store.uri} is damaged; delete it and withdraw the footage again"
            ) from error
    return Withdrawn(**{key: frozenset(hashes) for key, hashes in held.items()})


class Tombstones:
    """Checks whether tombstones were added since the last check, by listing one small folder."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: list[str] | None = None
        self._listed_at = -LOOK_S

    def read(self) -> Withdrawn:
        """Read all tombstones."""
        self._names = self._list_names()
        return read_withdrawn(self._store)

    def changed(self) -> bool:
        """Whether the tombstones may differ from those of the last `read`."""
        if not self._store.is_local and time.monotonic() - self._listed_at < LOOK_S:
            return False
        return self._list_names() != self._names

    def _list_names(self) -> list[str]:
        self._listed_at = time.monotonic()
        return self._store.names("withdrawn")


def _names(column: pa.ChunkedArray, withdrawn: Callable[[str], bool]) -> pa.Array:
    names = [name for name in pc.unique(column).to_pylist() if name is not None]
    return pa.array([name for name in names if withdrawn(name)], pa.string())
