"""Check one shard against its index rows, every byte, in one pass and with one member in memory at a time."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cv2  # noqa: F401  # if decord is loaded first, OpenCV cannot decode PNG
import decord
import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.numpy import load

from datagen.common.errors import Refusal
from datagen.media import decode_bytes
from datagen.output.ids import SHARD_NAME, member_suffix
from datagen.output.schema import Row
from datagen.output.store import Store
from datagen.shards.writer import row_json

BATCH = 32  # frames decoded at once by the deep check
FACE_SHAPES: dict[str, tuple[int, ...]] = {
    "landmarks": (468, 3),
    "irises": (2, 5, 2),
    "box": (4,),
    "pose": (3,),
    "presence": (),
}


ContentFaults = Callable[[bytes, Row, str], Iterator[str]]
"""Takes the bytes of a member, its clip's row and its name; returns faults that a hash does not show."""


def check_shard(store: Store, shard: str, rows: list[Row], *, deep: bool) -> Iterator[str]:
    """Faults of a shard and of the rows that point to it, each one line.

    Args:
        store: the data set.
        shard: file name under `shards/`.
        rows: all index rows of the unit.
        deep: decode every frame of every stream.
    """
    return check_tar(store, "shards", shard, rows, partial(_stream_or_row_faults, deep=deep))


def check_tar(
    store: Store, folder: str, shard: str, rows: list[Row], content_faults: ContentFaults | None = None
) -> Iterator[str]:
    """Faults of a tar named by its hash and of the rows whose members it holds, each one line.

    Args:
        store: the data set.
        folder: the tar's folder.
        shard: the tar's file name.
        rows: all rows that point to it.
        content_faults: checks the members whose place and hash are as their rows say.
    """
    match = SHARD_NAME.fullmatch(shard)
    if match is None:
        yield f"{folder}/{shard}: not the name of a shard"
        return
    expected = {member["name"]: (row, member) for row in rows for member in row["members"]}
    try:
        with store.filesystem.open_input_file(store.path(folder, shard)) as file:
            reader = _HashingReader(file)
            seen: set[str] = set()
            yield from _member_faults(reader, f"{folder}/{shard}", expected, seen, content_faults)
            reader.drain()
    except FileNotFoundError:
        yield f"{folder}/{shard}: missing, but the index has {len(rows)} clips in it"
        return
    except (OSError, pa.ArrowException) as error:
        yield f"{folder}/{shard}: cannot be read: {error}"
        return
    if reader.digest.hexdigest()[:16] != match["digest"]:
        yield f"{folder}/{shard}: its sha256 begins with {reader.digest.hexdigest()[:16]}, not as its name says"
    for name in sorted(expected.keys() - seen):
        yield f"{folder}/{shard}: {name} is missing, but the index lists it"


class _HashingReader(io.RawIOBase):
    """A file that is read once from front to end and hashed on the way."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self.digest.update(data)
        return data

    def drain(self) -> None:
        while self.read(1 << 20):
            pass


def _member_faults(
    file: _HashingReader,
    shard: str,
    expected: dict[str, tuple[Row, Row]],
    seen: set[str],
    content_faults: ContentFaults | None,
) -> Iterator[str]:
    try:
        with tarfile.open(fileobj=file, mode="r|") as tar:
            for info in tar:
                where = f"{shard}: {info.name}"
                content = tar.extractfile(info)
                if content is None:
                    yield f"{where} is not a plain file"
                    continue
                data = content.read()
                if info.name in seen:
                    yield f"{where} is there twice"
                seen.add(info.name)
                if info.name not in expected:
                    yield f"{where} is not in the index"
                    continue
                row, member = expected[info.name]
                faults = list(_entry_faults(info, data, member))
                if content_faults is not None and not faults:
                    faults = list(content_faults(data, row, info.name))
                yield from (f"{where} {fault}" for fault in faults)
    except (tarfile.TarError, EOFError) as error:
        yield f"{shard}: not a readable tar: {error}"


def _entry_faults(info: tarfile.TarInfo, data: bytes, member: Row) -> Iterator[str]:
    if info.offset_data != member["offset"]:
        yield f"lies at byte {info.offset_data}, the index says {member['offset']}"
    if len(data) != member["size"]:
        yield f"has {len(data)} bytes, the index says {member['size']}"
    elif hashlib.sha256(data).hexdigest() != member["sha256"]:
        yield "has another sha256 than the index says"


def _stream_or_row_faults(data: bytes, row: Row, name: str, deep: bool) -> Iterator[str]:
    suffix = member_suffix(name)
    if suffix == "json":
        if data != row_json(row):
            yield "differs from the index row"
    elif suffix == "face.safetensors":
        yield from _face_faults(data, row["frames"])
    elif suffix.endswith(".mp4"):
        yield from (_frame_faults if deep else _count_faults)(data, row, suffix.removesuffix(".mp4"))


def _face_faults(data: bytes, frames: int) -> Iterator[str]:
    try:
        arrays = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        yield f"is not readable: {error}"
        return
    for key, shape in FACE_SHAPES.items():
        if key not in arrays:
            yield f"has no {key}"
        elif arrays[key].shape != (frames, *shape):
            yield f"has {key} of shape {arrays[key].shape}, expected {(frames, *shape)}"
        elif not np.isfinite(arrays[key]).all():
            yield f"has {key} that are not finite"


def _count_faults(data: bytes, row: Row, stream: str) -> Iterator[str]:
    count = _frame_count(data)
    if count != row["frames"]:
        yield "cannot be opened" if count is None else f"has {count} frames, the clip {row['frames']}"


def _frame_faults(data: bytes, row: Row, stream: str) -> Iterator[str]:
    faults = list(_count_faults(data, row, stream))
    yield from faults
    if faults:
        return
    for start in range(0, row["frames"], BATCH):
        try:
            frames = decode_bytes(data, range(start, min(start + BATCH, row["frames"])))
        except Refusal as error:
            yield f"cannot be decoded from frame {start}: {error.message}"
            return
        if frames.shape[1:] != (row["size"], row["size"], 3):
            yield f"has frames of {frames.shape[2]}x{frames.shape[1]}, the clip {row['size']}x{row['size']}"
            return
        if stream == "mask" and not np.isin(frames, (0, 255)).all():
            yield f"holds values between 0 and 255 near frame {start}"
            return
        if stream.startswith("driving_") and (np.ptp(frames, axis=-1) > 0).any():
            yield f"is not grey near frame {start}"
            return


def _frame_count(data: bytes) -> int | None:
    if data[4:8] != b"ftyp":  # decord would print the bytes to stdout
        return None
    try:
        return len(decord.VideoReader(io.BytesIO(data), num_threads=1))
    except (decord.DECORDError, RuntimeError):
        return None
