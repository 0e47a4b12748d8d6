"""Failure files: one for each part or unit, and one more for each try that ended otherwise.

Failures appear before the piece of the clip table or of the index that they stand beside. A driver may be killed in
between, and two drivers may come to different ends where a source changes meanwhile; no row is lost then: a file whose
name is taken by other rows gets a name of its own, and readers pass over rows about what came out after all.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pyarrow as pa

from datagen.common.errors import UserError
from datagen.output.paths import Output, published_names
from datagen.output.publish import Put, exchange, publish, read_table, write_table
from datagen.output.schema import FAILURES, schema_of

OTHER = "~"
"""Stands between the name of a part or unit and the hash of other rows about it."""


def owner_of(name: str) -> str:
    """The part or unit that a failure file is about."""
    return name.partition(OTHER)[0]


def files_of(out: Output, owner: str) -> list[str]:
    """Names of the failure files of a part or unit."""
    return sorted(name for name in published_names(out.failures) if owner_of(name) == owner)


def publish_failures(out: Output, owner: str, rows: list[dict[str, Any]], put: Put = publish) -> None:
    """Publish failure rows; with `exchange`, in place of all there are."""
    final = out.failures / f"{owner}.parquet"
    if put is exchange:
        for name in files_of(out, owner):
            if not rows or name != owner:
                (out.failures / f"{name}.parquet").unlink(missing_ok=True)
    if not rows:
        return
    table = pa.Table.from_pylist(rows, schema=schema_of(FAILURES))
    if write_table(table, final, out.tmp, put):
        return
    try:
        same = read_table(final, schema=schema_of(FAILURES)).equals(table)
    except UserError:  # damaged, or purged at this moment
        same = False
    if not same:
        digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:8]
        write_table(table, out.failures / f"{owner}{OTHER}{digest}.parquet", out.tmp)
