"""Write one shard: a plain tar whose bytes depend on the members alone."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from datagen.output.failures import publish_failures
from datagen.output.ids import CLIP_ID, SUFFIX, member_name, shard_name
from datagen.output.paths import Output
from datagen.output.publish import Put, disk_errors, publish, write_table
from datagen.output.schema import INDEX, schema_of

JSON_LEAVES_OUT = ("shard", "members")

_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1 << 20


@dataclass(frozen=True)
class ShardMember:
    """One file of a clip in its shard.

    Attributes:
        name: `<clip id>.<suffix>`.
        offset: first byte of the content in the tar.
        size: bytes of the content.
        sha256: hash of the content.
    """

    name: str
    offset: int
    size: int
    sha256: str


class ShardWriter:
    """Writes a tar in the WebDataset layout; the members of a clip follow each other.

    Headers hold no times, users or hosts. Names beyond 256 bytes and members beyond 8 GiB get pax headers.
    Used as a context manager, it removes the unfinished file when the block fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._clips: set[str] = set()
        self._hash = hashlib.sha256()
        self._position = 0
        with disk_errors(path.parent):
            self._file = path.open("xb")

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    @property
    def clips(self) -> int:
        """Clips added so far."""
        return len(self._clips)

    def add(self, clip_id: str, files: Mapping[str, bytes | Path]) -> list[ShardMember]:
        """Append a clip.

        Args:
            clip_id: `[a-z0-9_-]` only: webdataset cuts keys at the first dot and lower-cases suffixes.
            files: suffix such as `video.mp4` -> content, or the path of a file with it.

        Returns:
            Where each file lies, in the order of the tar (sorted by suffix).

        Raises:
            ValueError: a name the format does not allow, or a clip that is already there.
            UserError: the disk is full.
        """
        if not CLIP_ID.fullmatch(clip_id):
            raise ValueError(f"clip id {clip_id!r} must be made of a-z, 0-9, _ and -")
        if clip_id in self._clips:
            raise ValueError(f"clip {clip_id!r} is already in this shard")
        for suffix in files:
            if not SUFFIX.fullmatch(suffix):
                raise ValueError(f"suffix {suffix!r} must be like 'video.mp4', in lower case")
        self._clips.add(clip_id)
        with disk_errors(self.path.parent):
            return [self._append(member_name(clip_id, suffix), files[suffix]) for suffix in sorted(files)]

    def close(self) -> str:
        """End the tar and return its sha256; further calls return it again."""
        if not self._file.closed:
            with disk_errors(self.path.parent):
                self._write(bytes(2 * _BLOCK))
                self._write(bytes(-self._position % tarfile.RECORDSIZE))
                self._file.close()
        return self._hash.hexdigest()

    def discard(self) -> None:
        """Remove the file."""
        try:
            self._file.close()
        finally:
            self.path.unlink(missing_ok=True)

    def _append(self, name: str, content: bytes | Path) -> ShardMember:
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        header = tarfile.TarInfo(name)
        header.size = size
        self._write(header.tobuf(tarfile.PAX_FORMAT))
        offset = self._position
        digest = hashlib.sha256()
        for piece in _chunks(content):
            digest.update(piece)
            self._write(piece)
        if self._position - offset != size:
            raise ValueError(f"the file of {name} changed while it was packed")
        self._write(bytes(-size % _BLOCK))
        return ShardMember(name, offset, size, digest.hexdigest())

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self._position += len(data)


def row_json(row: Mapping[str, Any]) -> bytes:
    """The `.json` member of a clip: its index row without `shard` and `members`, values as stored there."""
    columns = [column for column in INDEX if column.name not in JSON_LEAVES_OUT]
    table = pa.Table.from_pylist([dict(row)], schema=schema_of(tuple(columns)))
    return canonical_json(table.to_pylist()[0])


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


def publish_unit(
    output: Output,
    unit: str,
    shard: ShardWriter | None,
    rows: list[dict[str, Any]],
    failures: list[dict[str, Any]],
    *,
    put: Put = publish,
) -> bool:
    """Publish what one unit made: shard, failure rows, and last of all its index piece.

    Args:
        output: the output folder.
        unit: name of the unit; a retry ends in `-r1`.
        shard: the written shard, or None (or one without clips) where no clip came out.
        rows: index rows with `members`; `shard` is set here.
        failures: failure rows, possibly none.
        put: moves a finished file to its name; `exchange` for a unit that replaces a damaged one.

    Returns:
        False when another driver published the unit first; its index piece stands.
    """
    name: str | None = None
    if shard is not None:
        try:
            if rows:
                name = shard_name(unit, shard.close())
                put(shard.path, output.shards / name)
        finally:
            shard.discard()
    publish_failures(output, unit, failures, put)
    for row in rows:
        row["shard"] = name
    ordered = sorted(rows, key=lambda row: row["clip_id"])
    for row in ordered:
        row["members"] = [asdict(item) if isinstance(item, ShardMember) else item for item in row["members"]]
    table = pa.Table.from_pylist(ordered, schema=schema_of(INDEX))
    return write_table(table, output.index / f"{unit}.parquet", output.tmp, put)


def _chunks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece
