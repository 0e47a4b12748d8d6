"""Finds the clips whose consent is withdrawn while a data set is in use.

Each clip carries four short hashes, of its source, its subject, its donor and its style, with which later tombstones
are compared; no names need to be kept for that. Shapes: N clips.
"""

from __future__ import annotations

import hashlib
import logging
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

logger = logging.getLogger(__name__)

COLUMNS = ("source", "subject", "donor_sha256", "style_sha256")
"""Columns of the index that `keys_of` needs."""

HASHES = {"source": source_hash, "subject": subject_hash}
"""How tombstones hash the names in a column; the other columns hold hashes already."""

REASON = "consent was withdrawn"
FOLDER = "withdrawn"
LIST_S = 30.0  # between two listings of an object store; a local folder is listed every time
UNKNOWN_S = 300.0  # without an answer of the store; after that the withdrawals count as unknown


def withdrawn_keys(store: Store) -> np.ndarray:
    """Keys of everything that is withdrawn now, sorted uint64.

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
    """Checks for new tombstones of a data set whenever it is asked.

    A check lists one small folder; tombstones are read only if there is a new name. An object store is listed at most
    every `LIST_S` seconds, so withdrawn footage may still be used for that long.

    Args:
        store: the data set's store.
        ids: the clips' ids.
        keys_N4: the clips' keys, see `keys_of`.
    """

    def __init__(self, store: Store, ids: pa.StringArray, keys_N4: np.ndarray) -> None:
        self._store, self._ids, self._keys_N4 = store, ids, keys_N4
        self._names: list[str] = []
        self._found: dict[int, str] = {}
        self._listed: float | None = None
        self._answered = time.monotonic()

    def found(self) -> Mapping[int, str]:
        """Number -> id of the clips that must not be used any more.

        Raises:
            UserError: the tombstones could not be read for more than `UNKNOWN_S` seconds.
        """
        now = time.monotonic()
        local = isinstance(self._store.filesystem, pafs.LocalFileSystem)
        if local or self._listed is None or now - self._listed >= LIST_S:
            self._listed = now
            try:
                self._update()
                self._answered = now
            except UserError as error:
                logger.info("the withdrawals cannot be read now: %s", error)
                if now - self._answered > UNKNOWN_S:
                    raise UserError(f"the withdrawals cannot be read: {error}") from error
        return self._found

    def _update(self) -> None:
        names = _names(self._store)
        if names != self._names:
            found_N = np.isin(self._keys_N4, withdrawn_keys(self._store)).any(axis=1)
            self._found = {n: self._ids[n].as_py() for n in np.flatnonzero(found_N).tolist()}
            self._names = names
            logger.info("%s: %d clips are withdrawn", self._store.uri, len(self._found))

    def __getstate__(self) -> dict[str, Any]:
        """State for another process, whose monotonic clock differs."""
        return vars(self) | {"_listed": None}


def tombstones(store: Store) -> str:
    """A short hash of the present tombstones, which changes with every withdrawal; empty without any."""
    names = _names(store)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] if names else ""


def _names(store: Store) -> list[str]:
    handler = getattr(store.filesystem, "handler", None)
    if isinstance(handler, pafs.FSSpecHandler):  # fsspec may cache a listing without limit
        handler.fs.invalidate_cache(store.path(FOLDER))
    return store.names(FOLDER)


def _key(sha256: str) -> int:
    """The first 8 bytes of a hash in hex; 0 means none."""
    try:
        return int(sha256[:16], 16)
    except ValueError as error:
        raise UserError(f"{sha256[:80]!r} is no sha256; the index or a tombstone is damaged") from error
