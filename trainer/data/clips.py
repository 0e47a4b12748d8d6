"""The clips of one data set packed for training: where each required file lies, about 100 bytes per clip.

Loader workers get this instead of the index, whose hashes, boxes and names take kilobytes per clip.
Shapes: N clips, M file suffixes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from datagen.output.store import Store
from trainer.data.errors import DamagedFileError, MissingFileError
from trainer.data.stored_latents import Latents

# Files with a smaller gap between them share one range read: a second request costs more than the extra bytes.
_GAP = 1 << 20


@dataclass(frozen=True)
class Clips:
    """Clips by number, in the order of the index.

    Attributes:
        store: the data set's store.
        ids: clip ids.
        shard_names, shard_N: file of each clip under `shards/`.
        frames_N, fps_N: length and rate.
        suffixes: files that may be read, such as `video.mp4`.
        offset_NM, size_NM: place in the shard; size -1 where the clip lacks the file.
        check_NM: first 8 bytes of the sha256, as one big-endian number.
        augmentation_N32: scale and aspect of the baked driving streams, in the order of `KINDS`.
        keys_N4: hashes that withdrawals are compared with, see `trainer.data.withdrawn`.
        size: side of the frames in pixels.
        latents: precomputed latents of the same clips.
    """

    store: Store
    ids: pa.StringArray
    shard_names: tuple[str, ...]
    shard_N: np.ndarray
    frames_N: np.ndarray
    fps_N: np.ndarray
    suffixes: tuple[str, ...]
    offset_NM: np.ndarray
    size_NM: np.ndarray
    check_NM: np.ndarray
    augmentation_N32: np.ndarray
    keys_N4: np.ndarray
    size: int
    latents: Latents | None = None

    def __len__(self) -> int:
        return len(self.frames_N)

    def clip_id(self, number: int) -> str:
        """Id of a clip."""
        clip_id: str = self.ids[number].as_py()
        return clip_id

    def has(self, number: int, suffix: str) -> bool:
        """Whether the clip has the file."""
        return bool(self.size_NM[number, self.suffixes.index(suffix)] >= 0)

    def read(self, number: int, suffixes: Sequence[str], *, check: bool = True) -> dict[str, memoryview]:
        """Read files of a clip, with few range reads.

        Args:
            number: the clip's number.
            suffixes: files wanted.
            check: compare with the hash in the index.

        Raises:
            MissingFileError, DamagedFileError: naming the suffix.
            UserError: the shard is missing or cut short.
        """
        columns = sorted(
            (self.suffixes.index(suffix) for suffix in set(suffixes)),
            key=lambda m: int(self.offset_NM[number, m]),
        )
        for column in columns:
            if self.size_NM[number, column] < 0:
                raise MissingFileError(f"the clip has no {self.suffixes[column]}")
        places = [(int(self.offset_NM[number, m]), int(self.size_NM[number, m])) for m in columns]
        shard = self.shard_names[self.shard_N[number]]
        contents = read_ranges(self.store, ("shards", shard), places)
        if check:
            for column, content in zip(columns, contents, strict=True):
                digest = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
                if digest != self.check_NM[number, column]:
                    name = self.suffixes[column]
                    raise DamagedFileError(f"the bytes of {name} differ from the index's sha256")
        return {self.suffixes[m]: content for m, content in zip(columns, contents, strict=True)}


def read_ranges(store: Store, path: tuple[str, ...], places: Sequence[tuple[int, int]]) -> list[memoryview]:
    """Contents of places (offset, size) in ascending order; places near each other share a range read."""
    groups: list[list[tuple[int, int]]] = []
    for place in places:
        end = sum(groups[-1][-1]) if groups else 0
        if groups and place[0] - end <= _GAP:
            groups[-1].append(place)
        else:
            groups.append([place])
    contents = []
    for group in groups:
        start, stop = group[0][0], sum(group[-1])
        data = memoryview(store.read(*path, offset=start, size=stop - start))
        contents += [data[offset - start : offset - start + size] for offset, size in group]
    return contents
