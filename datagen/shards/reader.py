"""The public reader: rows of the index, and any file of any clip by one range read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from safetensors.numpy import load

from datagen.common.errors import UserError
from datagen.output.ids import member_name, member_suffix
from datagen.output.publish import CHECKED
from datagen.output.schema import INDEX, schema_of
from datagen.output.store import Store
from datagen.output.tombstones import Tombstones

PIECES = b"pieces"  # metadata key of the compacted index: names of the pieces it holds

LOCATION_COLUMNS = ("shard", "members")  # columns that tell where a clip's files lie

Row = Mapping[str, Any]


class Dataset:
    """A finished or growing data set, without withdrawn footage.

    Consent may be withdrawn while a data set is open. Every read checks for that: in a folder at once, in an object
    store at most `LOOK_S` seconds late.

    Attributes:
        table: the index as a pyarrow table, in the order of units and clip ids.

    Example:
        >>> data = Dataset("out/demo", where="split = 'train' and face_area > 0.2")
        >>> frames = data.frames(data.row(0), "swapped", [0, 5])
    """

    def __init__(
        self,
        out: str | Path,
        where: str | None = None,
        columns: Sequence[str] | None = None,
        *,
        files: bool = True,
    ) -> None:
        """Open the index.

        Args:
            out: output folder, or a URI such as `s3://bucket/set`.
            where: SQL expression over the index columns, evaluated by DuckDB; default all clips.
            columns: columns of `table`, and always `clip_id`. Default all.
            files: keep the columns that tell where the clips' files lie. Without them no file can be read, but a
                query over a million clips takes well under a second.

        Raises:
            UserError: there is no index, the SQL is wrong, or a column is unknown.
        """
        self.store = Store.open(out)
        self._tombstones = Tombstones(self.store)
        rows = _open_index(self.store)
        names = _columns(columns, files)
        try:
            kept = None
            if withdrawn := self._tombstones.read():
                kept = ~withdrawn.hidden(rows.to_table(columns=["source", "subject"]))
            if where is not None:
                chosen = pc.field("clip_id").isin(_select(rows if kept is None else rows.filter(kept), where))
                kept = chosen if kept is None else kept & chosen
            self.table = rows.to_table(columns=names, filter=kept)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UserError(f"cannot read the index of {out}: {error}; `verify` tells which file") from error
        self._hidden: frozenset[tuple[str, str]] = frozenset()
        self._shards: frozenset[str] | None = None  # names of all shards, read after the first withdrawal

    def __len__(self) -> int:
        return self.table.num_rows

    def row(self, number: int) -> dict[str, Any]:
        """Row `number` of `table` as plain Python values."""
        if not 0 <= number < len(self):
            raise IndexError(f"row {number} of {len(self)}")
        return self.table.slice(number, 1).to_pylist()[0]

    def clip(self, clip_id: str) -> dict[str, Any]:
        """Row of a clip.

        Raises:
            UserError: there is no such clip, or it was withdrawn or filtered out.
        """
        number = pc.index(self.table["clip_id"], clip_id).as_py()
        if number < 0:
            raise UserError(f"no clip {clip_id!r} in {self.store.uri}")
        return self.row(number)

    def suffixes(self, clip: str | Row) -> list[str]:
        """Files of a clip: `video.mp4`, `face.safetensors` ..."""
        row = self._row(clip)
        return [member_suffix(member["name"]) for member in row["members"]]

    def read(self, clip: str | Row, suffix: str) -> bytes:
        """Content of one file of a clip, by one range read.

        Args:
            clip: clip id, or a row (saves the lookup).
            suffix: such as `video.mp4`.

        Raises:
            UserError: the clip has no such file, or the shard is missing or cut short.
        """
        row = self._row(clip)
        self._check_consent(row)
        name = member_name(row["clip_id"], suffix)
        for member in row["members"]:
            if member["name"] == name:
                return self.store.read("shards", row["shard"], offset=member["offset"], size=member["size"])
        raise UserError(f"clip {row['clip_id']} has no {suffix}; it has {', '.join(self.suffixes(row))}")

    def read_all(self, clip: str | Row) -> dict[str, bytes]:
        """Every file of a clip by suffix, by one range read (they follow each other in the shard)."""
        row = self._row(clip)
        self._check_consent(row)
        members = row["members"]
        start = min(member["offset"] for member in members)
        end = max(member["offset"] + member["size"] for member in members)
        data = self.store.read("shards", row["shard"], offset=start, size=end - start)
        return {
            suffix: data[member["offset"] - start : member["offset"] - start + member["size"]]
            for suffix, member in zip(self.suffixes(row), members, strict=True)
        }

    def frames(self, clip: str | Row, stream: str, indices: Sequence[int] | None = None) -> np.ndarray:
        """Frames of a stream: uint8 (n, H, W, 3) RGB; grey streams have three equal channels.

        Args:
            clip: clip id or row.
            stream: `video`, `swapped`, `styled`, `driving_video` ..., `mask`.
            indices: frame numbers, default all.
        """
        from datagen.media.decode import decode_bytes  # readers of rows and latents need no decoder

        return decode_bytes(self.read(clip, f"{stream}.mp4"), indices)

    def faces(self, clip: str | Row) -> dict[str, np.ndarray]:
        """Per-frame face arrays of a clip, float16 in crop coordinates, first axis the frame."""
        return load(self.read(clip, "face.safetensors"))

    def _row(self, clip: str | Row) -> Row:
        return self.clip(clip) if isinstance(clip, str) else clip

    def _check_consent(self, row: Row) -> None:
        """Refuse a clip whose consent was withdrawn after the data set was opened."""
        if self._tombstones.changed():
            rows = _open_index(self.store)
            withdrawn = self._tombstones.read()
            hidden = withdrawn.hidden(rows.to_table(columns=["source", "subject"]))
            rows_hidden = rows.to_table(columns=["clip_id", "shard"], filter=hidden)
            gone = zip(rows_hidden["clip_id"].to_pylist(), rows_hidden["shard"].to_pylist(), strict=True)
            self._hidden |= frozenset(gone)
            self._shards = frozenset(pc.unique(rows.to_table(columns=["shard"])["shard"]).to_pylist())
        purged = self._shards is not None and row["shard"] not in self._shards
        if purged or (row["clip_id"], row["shard"]) in self._hidden:
            raise UserError(
                f"clip {row['clip_id']} was withdrawn after {self.store.uri} was opened, "
                "or a clip beside it was purged; open it again"
            )


def _open_index(store: Store) -> ds.Dataset:
    """All index files as one lazy dataset; where `compact` has merged some, the merged file is read instead."""
    schema = schema_of(INDEX)
    pieces = {name for name in store.names("index") if name.endswith(".parquet")}
    parts: list[ds.Dataset] = []
    try:
        for name in store.names("compacted"):
            merged = ds.dataset(store.path("compacted", name), filesystem=store.filesystem, format=CHECKED)
            held = set(json.loads((merged.schema.metadata or {}).get(PIECES, b"[]")))
            if held and held <= pieces:
                pieces -= held
                parts.append(merged.replace_schema(schema))
        if pieces:
            paths = [store.path("index", name) for name in sorted(pieces)]
            parts.append(ds.dataset(paths, schema=schema, format=CHECKED, filesystem=store.filesystem))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(
            f"cannot read the index of {store.uri}: {error}; `verify` tells which file"
        ) from error
    if not parts:
        raise UserError(f"{store.uri} holds no finished unit (no files in index/); make some with `run`")
    return parts[0] if len(parts) == 1 else ds.dataset(parts)


def _columns(columns: Sequence[str] | None, files: bool) -> list[str]:
    known = [column.name for column in INDEX]
    unknown = sorted(set(columns or ()) - set(known))
    if unknown:
        raise UserError(f"the index has no column {unknown[0]!r}; see docs/format.md", code=2)
    wanted = {"clip_id", *(known if columns is None else columns), *LOCATION_COLUMNS}
    if not files:
        wanted -= set(LOCATION_COLUMNS)
    return [name for name in known if name in wanted]


def _select(rows: ds.Dataset, where: str) -> pa.Array:
    """Ids of the clips for which the SQL expression is true; the expression can read nothing but the index."""
    limits: dict[str, Any] = {
        "enable_external_access": False,
        "python_enable_replacements": False,
        "lock_configuration": True,
    }
    with duckdb.connect(":memory:", config=limits) as connection:
        try:
            found = connection.from_arrow(rows).filter(where).project("clip_id").fetchall()
        except duckdb.Error as error:
            raise UserError(f"--where {where!r}: {str(error).splitlines()[0]}", code=2) from error
    return pa.array([clip_id for (clip_id,) in found], pa.string())
