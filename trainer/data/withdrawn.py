"""Which clips of a data set were withdrawn while it is in use: consent may be revoked at any time.

Each clip carries four short hashes, of its source, its subject, its donor and its style, so that a tombstone that
appears later can be compared with it; names need not be kept for that. Shapes: N clips.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from datagen.common.errors import UserError
from datagen.output.store import Store
from datagen.output.tombstones import read_withdrawn, source_hash, subject_hash

COLUMNS = ("source", "subject", "donor_sha256", "style_sha256")
"""Columns of the index that `keys_of` needs."""

HASHES = {"source": source_hash, "subject": subject_hash}
"""How tombstones hash the names of a column; the others hold hashes themselves."""

REASON = "consent was withdrawn"
FOLDER = "withdrawn"
LOOK_S = 30.0  # between two looks into an object store; a folder is looked into every time
PATIENCE_S = 300.0  # without an answer of the store; after that nobody can say what was withdrawn


def withdrawn_since(store: Store) -> np.ndarray:
    """Keys of everything that is withdrawn now, sorted uint64; the only place that knows how tombstones say it.

    Raises:
        UserError: a tombstone is damaged or cannot be read.
    """
    withdrawn = read_withdrawn(store)
    hashes = withdrawn.sources | withdrawn.subjects | withdrawn.portraits
    return np.array(sorted(map(_key, hashes)), np.uint64)


def keys_of(table: pa.Table) -> np.ndarray:
    """(N, 4) uint64 keys of the rows of an index, in the order of `COLUMNS`; 0 where a row has no value."""
    keys_N4 = np.zeros((table.num_rows, len(COLUMNS)), np.uint64)
    for place, column in enumerate(COLUMNS):
        encoded = pc.dictionary_encode(table[column].combine_chunks())
        hashed = HASHES.get(column, str)
        known = [_key(hashed(text)) for text in encoded.dictionary.to_pylist()]
        numbers_N = encoded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
        keys_N4[:, place] = np.array([*known, 0], np.uint64)[numbers_N]
    return keys_N4


class Withdrawals:
    """Looks for tombstones as often as a data set's clips are asked for.

    A look is the listing of one small folder; tombstones are read only where a name is new. An object store is asked
    every `LOOK_S` seconds at most, so for so long footage may still be used there.

    Args:
        store: where the data set lies.
        ids: of its clips.
        keys_N4: of its clips, see `keys_of`.
    """

    def __init__(self, store: Store, ids: pa.StringArray, keys_N4: np.ndarray) -> None:
        self._store, self._ids, self._keys_N4 = store, ids, keys_N4
        self._names: list[str] = []
        self._found: dict[int, str] = {}
        self._looked: float | None = None
        self._answered = time.monotonic()

    def found(self) -> Mapping[int, str]:
        """Number -> id of the clips that nobody may use any more.

        Raises:
            UserError: it cannot be known for longer than `PATIENCE_S` seconds.
        """
        now = time.monotonic()
        local = isinstance(self._store.filesystem, pafs.LocalFileSystem)
        if local or self._looked is None or now - self._looked >= LOOK_S:
            self._looked = now
            try:
                self._look()
                self._answered = now
            except UserError as error:
                if now - self._answered > PATIENCE_S:
                    raise UserError(f"it cannot be known which footage was withdrawn: {error}") from error
        return self._found

    def _look(self) -> None:
        names = _names(self._store)
        if names != self._names:
            found_N = np.isin(self._keys_N4, withdrawn_since(self._store)).any(axis=1)
            self._found = {n: self._ids[n].as_py() for n in np.flatnonzero(found_N).tolist()}
            self._names = names

    def __getstate__(self) -> dict[str, Any]:
        """For another process, whose clock is another one."""
        return vars(self) | {"_looked": None}


def tombstones(store: Store) -> str:
    """A short hash over the tombstones that are there, empty without any: it changes with every withdrawal."""
    names = _names(store)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] if names else ""


def _names(store: Store) -> list[str]:
    handler = getattr(store.filesystem, "handler", None)
    if isinstance(handler, pafs.FSSpecHandler):  # fsspec may remember a listing for ever
        handler.fs.invalidate_cache(store.path(FOLDER))
    return store.names(FOLDER)


def _key(sha256: str) -> int:
    """The first 8 bytes of a hash in hex; 0 means none."""
    try:
        return int(sha256[:16], 16)
    except ValueError as error:
        raise UserError(f"{sha256[:80]!r} is no sha256; the index or a tombstone is damaged") from error
