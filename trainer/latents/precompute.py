"""Adds latents and CLIP tokens to a finished data set; see `trainer.data.stored_latents` for the format.

They are published and resumed like the shards: a unit's tar first, its index file last. A unit without an index file
is still to be done.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from safetensors.numpy import save

from datagen.common.errors import UserError
from datagen.output.ids import shard_name
from datagen.output.paths import Output, published_names
from datagen.output.publish import publish, write_bytes, write_table
from datagen.output.store import Store
from datagen.output.temporary import temporary
from datagen.shards.reader import Dataset
from datagen.shards.writer import ShardWriter
from trainer.data.clips import Clips
from trainer.data.errors import DamagedFileError, MissingFileError, StreamError
from trainer.data.index import pack
from trainer.data.pixels import background_of, clip_image
from trainer.data.stored_latents import SCHEMA, Settings
from trainer.data.video import Frames, decode
from trainer.data.window import reference_candidates
from trainer.data.withdrawn import COLUMNS, Withdrawals, keys_of, withdrawn_keys
from trainer.latents.encoders import Encoders

logger = logging.getLogger(__name__)

_SUFFIXES = ("video.mp4", "mask.mp4")
_COLUMNS = ("unit", "frames", "fps", "size", "augmentations", *COLUMNS)
_BAD = (StreamError, MissingFileError, DamagedFileError, UserError)


@dataclass(frozen=True)
class Done:
    """Result of encoding one unit: numbers of clips and frames, and why clips failed."""

    unit: str
    clips: int
    frames: int
    failed: dict[str, str]


def precompute(
    out: Path,
    encoders: Encoders,
    *,
    dtype: str = "float16",
    references: int = 4,
    clip_size: int = 224,
    part: int = 0,
    parts: int = 1,
    on_unit: Callable[[Done, int], None] | None = None,
) -> list[Done]:
    """Encode every unit that is not encoded yet.

    Args:
        out: output folder of the pipeline.
        encoders: the networks; their hashes are recorded.
        dtype: `float16` or `float32`, as stored.
        references: candidate reference frames of a clip.
        clip_size: side of CLIP's input image in pixels.
        part, parts: encode every `parts`-th unit only, from number `part` on; for several processes at once.
        on_unit: called after each unit, with the unit and the number of units left.

    Returns:
        The units that this call encoded.

    Raises:
        UserError: there is no index, or the output holds latents made with other settings.
    """
    if dtype not in ("float16", "float32"):
        raise UserError(f"precision is {dtype!r}; choose float16 or float32", code=2)
    output = Output(out)
    settings = Settings(encoders.vae, encoders.clip, dtype, references, clip_size)
    data = Dataset(out, columns=_COLUMNS)
    index = output.precomputed / "index"
    for folder in (index, output.tmp):
        folder.mkdir(parents=True, exist_ok=True)
    output.clear_stale_tmp()
    _record(output, settings, data)
    done_before = published_names(index)
    pending = [unit for unit in sorted(published_names(output.index))[part::parts] if unit not in done_before]
    logger.info("%s: %d units to encode, %d encoded before", out, len(pending), len(done_before))
    done = []
    for count, unit in enumerate(pending, 1):
        made = _encode_unit(output, data, unit, encoders, settings)
        done.append(made)
        if on_unit is not None:
            on_unit(made, len(pending) - count)
    return done


def _record(output: Output, settings: Settings, data: Dataset) -> None:
    """Write the settings, or compare them with the existing ones."""
    text = json.dumps(asdict(settings), sort_keys=True, indent=1) + "\n"
    write_bytes(text.encode(), output.precomputed / "settings.json", output.tmp)
    before = Settings.read(data.store)
    if before != settings and before is not None:
        changed = [
            f"{k}: {getattr(before, k)} -> {v}"
            for k, v in asdict(settings).items()
            if v != getattr(before, k)
        ]
        raise UserError(
            f"{output.precomputed} was made with other settings ({'; '.join(changed)}); "
            f"use those, or remove the folder and precompute again"
        )


def _encode_unit(output: Output, data: Dataset, unit: str, encoders: Encoders, settings: Settings) -> Done:
    """Encode and publish one unit, without clips that are withdrawn before or during the work."""
    table = data.table.filter(pc.equal(data.table["unit"], unit))
    while True:
        allowed = _allowed(data.store, table)
        withdrawals = Withdrawals(data.store, allowed["clip_id"].combine_chunks(), keys_of(allowed))
        rows, tar = _encode_rows(output, allowed, data.store, unit, encoders, settings, withdrawals)
        index = output.precomputed / "index" / f"{unit}.parquet"
        if not withdrawals.found():
            write_table(pa.Table.from_pylist(rows, schema=SCHEMA), index, output.tmp)
        # Checked again after publishing: `remove` writes its tombstone first and then looks for published files.
        if not withdrawals.found():
            break
        index.unlink(missing_ok=True)
        if tar is not None:
            (output.precomputed / tar).unlink(missing_ok=True)
    good = [row for row in rows if row["reason"] is None]
    failed = {row["clip_id"]: row["reason"] for row in rows if row["reason"] is not None}
    return Done(unit, len(good), sum(row["frames"] for row in good), failed)


def _allowed(store: Store, table: pa.Table) -> pa.Table:
    """The rows that are not withdrawn."""
    return table.filter(pa.array(~np.isin(keys_of(table), withdrawn_keys(store)).any(axis=1)))


def _encode_rows(
    output: Output,
    table: pa.Table,
    store: Store,
    unit: str,
    encoders: Encoders,
    settings: Settings,
    withdrawals: Withdrawals,
) -> tuple[list[dict[str, Any]], str | None]:
    """Encode clips and publish their tar; returns the index rows, and the tar's name unless it would be empty.

    Once one of the clips is withdrawn, nothing more is encoded or published.
    """
    if not table.num_rows:
        return [], None
    clips = pack(store, table, _SUFFIXES)
    rows: list[dict[str, Any]] = []
    tar: str | None = None
    with ShardWriter(temporary(output.tmp, f"{unit}.tar")) as shard:
        for number in range(len(clips)):
            if not withdrawals.found():
                rows.append(_encode_clip(clips, number, unit, shard, encoders, settings))
        if shard.clips and not withdrawals.found():
            tar = shard_name(unit, shard.close())
            publish(shard.path, output.precomputed / tar)
        else:
            shard.discard()
    for row in rows:
        row["shard"] = None if row["reason"] else tar
    return rows, tar


def _encode_clip(
    clips: Clips, number: int, unit: str, shard: ShardWriter, encoders: Encoders, settings: Settings
) -> dict[str, Any]:
    """Append a clip to the shard; returns its index row, with the reason where it failed."""
    row: dict[str, Any] = {
        "clip_id": clips.clip_id(number),
        "unit": unit,
        "source_shard": clips.shard_names[clips.shard_N[number]],
        "frames": int(clips.frames_N[number]),
        "reason": None,
        "members": [],
    }
    references = reference_candidates(row["clip_id"], row["frames"], settings.references)
    try:
        files, shape = _tensors(clips, number, references, encoders, settings)
    except _BAD as error:
        return row | {"reason": str(error)}
    members = shard.add(row["clip_id"], files)
    start = members[0].offset + len(files["latents.safetensors"]) - int(np.prod(shape)) * _width(settings)
    return row | {
        "moments": shape[1:],
        "start": start,
        "references": references,
        "members": [asdict(member) for member in members],
    }


def _tensors(
    clips: Clips, number: int, references: list[int], encoders: Encoders, settings: Settings
) -> tuple[dict[str, bytes], tuple[int, ...]]:
    """Files of a clip by suffix, and the shape (F, C, h, w) of its moments."""
    frames = int(clips.frames_N[number])
    data = clips.read(number, _SUFFIXES)
    chunks = []
    kept: dict[int, np.ndarray] = {}
    for decoded in _decoded_chunks(data["video.mp4"], frames, encoders.batch):
        images = torch.from_numpy(decoded.pixels).movedim(-1, -3)
        chunks.append(_stored(encoders.image_moments(images), settings))
        kept |= {i: decoded.at(np.array([i])).pixels[0].copy() for i in references if i in decoded.numbers_N}
    moments = np.concatenate(chunks)
    masks = decode(data["mask.mp4"], references, frames, grey=True)
    backgrounds = np.stack(
        [
            clip_image(kept[index], background_of(mask), settings.clip_size)
            for index, mask in zip(references, masks.pixels, strict=True)
        ]
    )
    tokens = _stored(encoders.image_tokens(torch.from_numpy(backgrounds).movedim(-1, -3)), settings)
    if not np.isfinite(moments).all() or not np.isfinite(tokens).all():
        raise StreamError(f"the encoders gave values that {settings.dtype} cannot hold")
    files = {"latents.safetensors": save({"moments": moments})}
    for candidate, index in enumerate(references):
        files[f"reference{candidate:02d}.safetensors"] = save(
            {"moments": moments[index], "tokens": tokens[candidate]}
        )
    return files, moments.shape


def _decoded_chunks(data: memoryview, frames: int, size: int) -> Iterator[Frames]:
    """All frames of a stream, `size` at a time; the next chunk is decoded while the caller encodes the current one."""
    with ThreadPoolExecutor(1) as thread:
        chunks = [range(start, min(start + size, frames)) for start in range(0, frames, size)]
        following = thread.submit(decode, data, chunks[0], frames, grey=False)
        for chunk in chunks[1:]:
            decoded = following.result()
            following = thread.submit(decode, data, chunk, frames, grey=False)
            yield decoded
        yield following.result()


def _stored(values: torch.Tensor, settings: Settings) -> np.ndarray:
    # safetensors writes memory in its order, and convolutions may have put the channels last.
    return np.ascontiguousarray(values.cpu().numpy(), settings.dtype)


def _width(settings: Settings) -> int:
    return np.dtype(settings.dtype).itemsize
