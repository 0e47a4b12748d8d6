"""Reads the index of a data set into the packed clips that a loader works on.

Shapes: N clips, M file suffixes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen.common.errors import UserError
from datagen.output.store import Store
from datagen.shards.reader import Dataset
from trainer.data.clips import Clips
from trainer.data.config import KINDS, STREAM_OF, DataConfig, DataSource
from trainer.data.stored_latents import FoundLatents, find_latents
from trainer.data.withdrawn import COLUMNS, keys_of, tombstones

_COLUMNS = ("frames", "fps", "size", "recipe_hash", "augmentations", *COLUMNS)


@dataclass(frozen=True)
class OpenedClips:
    """A data set ready for training.

    Attributes:
        clips: the usable ones.
        left_out: clip id -> why it cannot be used, as far as the index shows.
        recipes: recipe hashes of the clips.
        found: the stored latents of `clips`.
        tombstones: hash of the withdrawals that were known when the clips were chosen.
    """

    clips: Clips
    left_out: dict[str, str]
    recipes: tuple[str, ...]
    found: FoundLatents
    tombstones: str

    def with_latents(self) -> OpenedClips:
        """The same with precomputed latents; clips whose latents could not be made are left out."""
        failed = {self.clips.clip_id(n): f"not precomputed: {why}" for n, why in self.found.failed.items()}
        clips = replace(self.clips, latents=self.found.latents)
        keep = np.setdiff1d(np.arange(len(clips)), list(self.found.failed))
        return replace(self, clips=_take(clips, keep), left_out=self.left_out | failed)


def suffixes_of(config: DataConfig) -> tuple[str, ...]:
    """Files a sample may need."""
    streams = [STREAM_OF[kind] for kind in KINDS]
    if config.driving == "baked":
        return ("video.mp4", "mask.mp4", *(f"driving_{stream}.mp4" for stream in streams))
    return ("mask.mp4", "face.safetensors", *(f"{stream}.mp4" for stream in streams))


def open_clips(source: DataSource, config: DataConfig, split: str | None) -> OpenedClips:
    """Clips of one data set.

    Args:
        source: the data set, and which of its clips.
        config: config of a sample.
        split: `train`, `val`, `test`, or None for all.

    Raises:
        UserError: no usable clip, clips of different sizes, or an index that cannot be read.
    """
    conditions = [text for text in (source.where, split and f"split = '{split}'") if text]
    # Before the index is read: a withdrawal between the two reads must count as a later one.
    before = tombstones(Store.open(source.path))
    data = Dataset(source.path, " and ".join(f"({text}\n)" for text in conditions) or None, _COLUMNS)
    if not len(data):
        what = f" with {' and '.join(conditions)}" if conditions else ""
        raise UserError(f"{source.path} has no clip{what}; see `inspect`")
    clips = pack(data.store, data.table, suffixes_of(config))
    unusable = _unusable(clips, config)
    left_out = {clips.clip_id(n): why for n, why in unusable.items()}
    if len(left_out) == len(clips):
        clip_id, why = next(iter(left_out.items()))
        raise UserError(f"none of the {len(clips)} clips of {source.path} can be used; {clip_id}: {why}")
    clips = _take(clips, np.setdiff1d(np.arange(len(clips)), list(unusable)))
    found = FoundLatents(None, {}, len(clips))
    if config.precomputed != "never":
        shards = [clips.shard_names[n] for n in clips.shard_N]
        found = find_latents(clips.store, clips.ids.to_pylist(), shards)
    recipes = tuple(sorted(pc.unique(data.table["recipe_hash"]).drop_null().to_pylist()))
    return OpenedClips(clips, left_out, recipes, found, before)


def pack(store: Store, table: pa.Table, suffixes: tuple[str, ...]) -> Clips:
    """Packed form of rows of the index.

    Raises:
        UserError: the clips differ in size.
    """
    shards = pc.dictionary_encode(table["shard"].combine_chunks())
    places = [_places(batch, suffixes) for batch in table.select(["members"]).to_batches()]
    offset_NM, size_NM, check_NM = (np.concatenate(parts) for parts in zip(*places, strict=True))
    sizes = sorted(pc.unique(table["size"]).to_pylist())
    if len(sizes) != 1:
        raise UserError(
            f"{store.uri} has clips of {' and '.join(map(str, sizes))} pixels, which cannot share a batch; "
            f"choose with `where`, such as `size = {sizes[-1]}`"
        )
    return Clips(
        store=store,
        ids=table["clip_id"].combine_chunks(),
        shard_names=tuple(shards.dictionary.to_pylist()),
        shard_N=shards.indices.to_numpy(),
        frames_N=table["frames"].to_numpy(),
        fps_N=table["fps"].to_numpy(),
        suffixes=suffixes,
        offset_NM=offset_NM,
        size_NM=size_NM,
        check_NM=check_NM,
        augmentation_N32=np.concatenate(
            [_augmentations(batch) for batch in table.select(["augmentations"]).to_batches()]
        ),
        keys_N4=keys_of(table),
        size=int(sizes[0]),
    )


def _places(batch: pa.RecordBatch, suffixes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offset, size (-1 where missing) and hash of the files of each clip of a batch."""
    members, rows = _flat(batch.column(0))
    shape = (batch.num_rows, len(suffixes))
    offset_NM, size_NM, check_NM = (
        np.zeros(shape, np.int64),
        np.full(shape, -1, np.int64),
        np.zeros(shape, np.uint64),
    )
    names = members.field("name")
    offset, size = members.field("offset").to_numpy(), members.field("size").to_numpy()
    for column, suffix in enumerate(suffixes):
        found = np.flatnonzero(pc.ends_with(names, f".{suffix}").to_numpy(zero_copy_only=False))
        where = (rows[found], column)
        offset_NM[where], size_NM[where] = offset[found], size[found]
        hashes = "".join(text[:16] for text in members.field("sha256").take(pa.array(found)).to_pylist())
        check_NM[where] = np.frombuffer(bytes.fromhex(hashes), ">u8")
    return offset_NM, size_NM, check_NM


def _augmentations(batch: pa.RecordBatch) -> np.ndarray:
    """(N, 3, 2) scale and aspect of the baked driving streams, 1 where not recorded."""
    augmentations, rows = _flat(batch.column(0))
    augmentation_N32 = np.ones((batch.num_rows, len(KINDS), 2), np.float32)
    for column, kind in enumerate(KINDS):
        found = np.flatnonzero(
            pc.equal(augmentations.field("stream"), STREAM_OF[kind]).to_numpy(zero_copy_only=False)
        )
        for axis, name in enumerate(("scale", "aspect")):
            augmentation_N32[rows[found], column, axis] = augmentations.field(name).to_numpy()[found]
    return augmentation_N32


def _flat(lists: pa.ListArray) -> tuple[pa.StructArray, np.ndarray]:
    """Elements of all lists, and the row each belongs to."""
    return pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()


def _unusable(clips: Clips, config: DataConfig) -> dict[int, str]:
    """Clips that cannot be used according to the index, and why."""
    reasons: dict[int, str] = {}
    drivers = [m for m, name in enumerate(clips.suffixes) if name.startswith("driving_")]
    if drivers:
        for n in np.flatnonzero((clips.size_NM[:, drivers] < 0).all(axis=1)):
            reasons[int(n)] = "the clip has no driving stream; use `driving: online`"
    needed = {"video.mp4", "mask.mp4", "face.safetensors"} & set(clips.suffixes)
    for suffix in sorted(needed):
        for n in np.flatnonzero(clips.size_NM[:, clips.suffixes.index(suffix)] < 0):
            reasons[int(n)] = f"the clip has no {suffix}"
    for n in np.flatnonzero(clips.frames_N < config.frames):
        reasons[int(n)] = f"the clip has {clips.frames_N[n]} frames, a sample needs {config.frames}"
    return reasons


def _take(clips: Clips, numbers: np.ndarray) -> Clips:
    """Some of the clips, in order."""
    if len(numbers) == len(clips):
        return clips
    latents = clips.latents
    if latents is not None:
        latents = replace(latents, **_rows_of(latents, numbers))
    return replace(clips, ids=clips.ids.take(pa.array(numbers)), latents=latents, **_rows_of(clips, numbers))


def _rows_of(packed: object, numbers: np.ndarray) -> dict[str, Any]:
    """The arrays of a dataclass with the rows of some clips only; all of its arrays have one row per clip."""
    return {name: value[numbers] for name, value in vars(packed).items() if isinstance(value, np.ndarray)}
