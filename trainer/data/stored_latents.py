"""Latents and tokens beside the shards: their format, and reading those of one sample.

`OUT/precomputed/<unit>-<hash>.tar` holds for every clip `latents.safetensors` (`moments`, all frames) and
`reference00.safetensors` ... (`moments` and `tokens` of one candidate reference frame each). Moments are mean and log
variance of the VAE's posterior, unscaled, concatenated on the channel axis.
`OUT/precomputed/index/<unit>.parquet` has one row for every clip of the unit, also for those that failed, and
`OUT/precomputed/settings.json` records the networks and settings.

Shapes: N clips, F frames, C = 2 x latent channels, h w latent height and width, T tokens, D token width, K candidates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.numpy import load

from datagen.common.errors import UserError
from datagen.output.schema import MEMBER
from datagen.output.store import Store
from trainer.data.errors import DamagedFileError

FOLDER = "precomputed"
SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("unit", pa.string()),
        ("shard", pa.string()),  # the tar under precomputed/, null where the clip failed
        ("source_shard", pa.string()),  # the shard whose frames were encoded
        ("frames", pa.int32()),
        ("moments", pa.list_(pa.int32())),  # shape (C, h, w) of one frame's moments
        ("start", pa.int64()),  # byte offset in the tar of the first frame's moments; all frames follow
        ("references", pa.list_(pa.int32())),  # candidate reference frames
        ("members", pa.list_(MEMBER)),
        ("reason", pa.string()),  # why the clip has no latents, null where it has
    ]
)


@dataclass(frozen=True)
class Settings:
    """Networks and settings that all latents of a data set were made with.

    Attributes:
        vae, clip: hashes of the networks.
        dtype: `float16` or `float32`, as stored.
        references: candidate reference frames of a clip.
        clip_size: side of CLIP's input image in pixels.
    """

    vae: str
    clip: str
    dtype: str
    references: int
    clip_size: int

    @classmethod
    def read(cls, store: Store) -> Settings | None:
        """Settings of a data set, None where nothing was precomputed.

        Raises:
            UserError: the file is damaged.
        """
        if "settings.json" not in store.names(FOLDER):
            return None
        try:
            return cls(**json.loads(store.read(FOLDER, "settings.json")))
        except (ValueError, TypeError) as error:
            raise UserError(f"{FOLDER}/settings.json of {store.uri} is damaged; precompute again") from error


@dataclass(frozen=True)
class ReferenceLatents:
    """`moments` (C, h, w) and `tokens` (T, D) of a candidate reference frame."""

    moments: np.ndarray
    tokens: np.ndarray


@dataclass(frozen=True)
class Latents:
    """Where the latents of N clips lie.

    Attributes:
        store, settings: the data set's store and the settings of its latents.
        shard_names, shard_N: tar of each clip under `precomputed/`.
        start_N: offset of the first frame's moments.
        shape: (C, h, w) of one frame's moments.
        references_NK: candidate reference frames.
        offset_NK, size_NK: file of each candidate.
    """

    store: Store
    settings: Settings
    shard_names: tuple[str, ...]
    shard_N: np.ndarray
    start_N: np.ndarray
    shape: tuple[int, ...]
    references_NK: np.ndarray
    offset_NK: np.ndarray
    size_NK: np.ndarray

    def moments(self, number: int, indices_F: np.ndarray) -> np.ndarray:
        """(F, C, h, w) of evenly spaced ascending frames, by one range read.

        Raises:
            DamagedFileError: a value is not finite.
        """
        dtype = np.dtype(self.settings.dtype)
        size = int(np.prod(self.shape)) * dtype.itemsize
        first, last = int(indices_F[0]), int(indices_F[-1])
        data = self._read(number, int(self.start_N[number]) + first * size, (last - first + 1) * size)
        moments = np.frombuffer(data, dtype).reshape(-1, *self.shape)[indices_F - first]
        if not np.isfinite(moments).all():
            raise DamagedFileError("precomputed latents are not finite")
        return moments

    def reference(self, number: int, candidate: int) -> ReferenceLatents:
        """What is stored of a candidate reference frame.

        Raises:
            DamagedFileError: it cannot be read.
        """
        data = self._read(
            number, int(self.offset_NK[number, candidate]), int(self.size_NK[number, candidate])
        )
        try:
            tensors: dict[str, np.ndarray] = load(data)
        except SafetensorError as error:
            raise DamagedFileError(f"precomputed reference {candidate}: {error}") from error
        if tensors.keys() != {"moments", "tokens"} or not all(np.isfinite(t).all() for t in tensors.values()):
            raise DamagedFileError(f"precomputed reference {candidate} is damaged")
        return ReferenceLatents(tensors["moments"], tensors["tokens"])

    def _read(self, number: int, offset: int, size: int) -> bytes:
        return self.store.read(FOLDER, self.shard_names[self.shard_N[number]], offset=offset, size=size)


@dataclass(frozen=True)
class FoundLatents:
    """What is precomputed of some clips.

    Attributes:
        latents: latents of all clips that are not in `failed`; None if nothing was precomputed.
        failed: number of a clip -> why it has no latents.
        missing: number of clips that have no row in the index of latents.
    """

    latents: Latents | None
    failed: Mapping[int, str]
    missing: int


def find_latents(store: Store, ids: list[str], shards: list[str]) -> FoundLatents:
    """Look clips up in the precomputed index.

    Args:
        store: the data set.
        ids: clip ids.
        shards: shard of each; latents made from an earlier version of a shard are ignored.

    Raises:
        UserError: the index or the settings cannot be read.
    """
    settings = Settings.read(store)
    if settings is None:
        return FoundLatents(None, {}, len(ids))
    numbers = {(clip_id, shard): n for n, (clip_id, shard) in enumerate(zip(ids, shards, strict=True))}
    names: dict[str, int] = {}
    shape: tuple[int, ...] = ()
    failed: dict[int, str] = {}
    count = len(ids)
    shard_N, start_N = np.full(count, -1, np.int32), np.full(count, -1, np.int64)
    references_NK = np.zeros((count, settings.references), np.int32)
    offset_NK = np.zeros((count, settings.references), np.int64)
    size_NK = np.zeros((count, settings.references), np.int64)
    for row in _rows(store):
        number = numbers.get((row["clip_id"], row["source_shard"]))
        if number is None:
            continue
        if row["reason"] is not None:
            failed[number] = row["reason"]
            continue
        shape = shape or tuple(row["moments"])
        if tuple(row["moments"]) != shape:
            failed[number] = f"latents of shape {row['moments']} among others of {list(shape)}"
            continue
        shard_N[number] = names.setdefault(row["shard"], len(names))
        start_N[number] = row["start"]
        references = [m for m in row["members"] if ".reference" in m["name"]]
        references_NK[number, : len(references)] = row["references"]
        references_NK[number, len(references) :] = -1
        for candidate, member in enumerate(references):
            offset_NK[number, candidate], size_NK[number, candidate] = member["offset"], member["size"]
    latents = Latents(
        store, settings, tuple(names), shard_N, start_N, shape, references_NK, offset_NK, size_NK
    )
    missing = int((shard_N < 0).sum()) - len(failed)
    return FoundLatents(latents, failed, missing)


def _rows(store: Store) -> Iterator[dict[str, Any]]:
    """Rows of all index files, one file in memory at a time."""
    for name in store.names(f"{FOLDER}/index"):
        if name.endswith(".parquet"):
            yield from store.table(f"{FOLDER}/index", name, SCHEMA.names).to_pylist()
