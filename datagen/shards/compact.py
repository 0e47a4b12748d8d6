"""Merge the index into one file, so that a set of a million clips opens in seconds; nothing else changes."""

from __future__ import annotations

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.common.errors import UserError
from datagen.output.paths import Output, published_names
from datagen.output.publish import scratch
from datagen.output.schema import INDEX, schema_of
from datagen.output.store import Store
from datagen.shards.reader import PIECES

ROWS = 65_536  # per row group


def compact_index(output: Output) -> int:
    """Write `compacted/index.parquet` from all index pieces; readers use it and add pieces that came later.

    Returns:
        Number of clips in it.

    Raises:
        UserError: a piece is damaged, or the disk is full.
    """
    clips = merge(output, "index", sorted(published_names(output.index)))
    for path in output.compacted.glob("*.parquet"):
        if path.name != "index.parquet":
            path.unlink(missing_ok=True)
    return clips


def merge(output: Output, name: str, units: list[str]) -> int:
    """Write `compacted/<name>.parquet` from the index pieces of some units.

    Returns:
        Number of clips in it.
    """
    store = Store.open(output.root)
    pieces = [f"{unit}.parquet" for unit in units]
    schema = schema_of(INDEX).with_metadata({PIECES: json.dumps(pieces).encode()})
    output.compacted.mkdir(exist_ok=True)
    clips, pending = 0, [schema.empty_table()]
    with scratch(output.tmp, f"{name}.parquet") as path:
        with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
            for piece in pieces:
                table = store.table("index", piece)
                if not table.schema.equals(schema_of(INDEX)):
                    raise UserError(f"index/{piece} has other columns than this version; `verify` says which")
                pending.append(table)
                clips += table.num_rows
                if sum(item.num_rows for item in pending) >= ROWS:
                    _write(writer, pending, schema)
            _write(writer, pending, schema)
        os.replace(path, output.compacted / f"{name}.parquet")
    return clips


def _write(writer: pq.ParquetWriter, pending: list[pa.Table], schema: pa.Schema) -> None:
    tables = [item.cast(schema) for item in pending]
    writer.write_table(pa.concat_tables(tables).combine_chunks(), row_group_size=ROWS)
    del pending[1:]
