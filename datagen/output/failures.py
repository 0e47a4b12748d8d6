"""Failure files: one for each part or unit, plus one for each repetition that had other failures.

The failures of a part or unit are published before its clip table or index piece. The driver may be killed in between,
and two drivers may get different results if a source changes while they run. No row is lost then: if the name of a
file is taken by a file with other rows, the new file gets another name. Readers ignore failures of sources and clips
that were made later.
"""

from __future__ import annotations

import hashlib
import json
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen.common.errors import KilledError, Refusal, UserError
from datagen.output.ids import failures_owner, is_again, more_failures_name, table_name
from datagen.output.paths import Output, published_names
from datagen.output.publish import Put, disk_errors, exchange, publish, read_table, write_table
from datagen.output.schema import FAILURES, Row, schema_of
from datagen.output.store import Store
from datagen.output.tombstones import read_withdrawn


def failure_row(
    part: str,
    source: str,
    refusal: Refusal,
    *,
    stage: str,
    unit: str | None = None,
    clip_id: str | None = None,
    stream: str | None = None,
    attempt: int = 1,
) -> Row:
    """A failure row about a source, a clip, or one stream of a clip that is kept without that stream."""
    return {
        "part": part,
        "unit": unit,
        "source": source,
        "clip_id": clip_id,
        "stream": stream,
        "stage": stage,
        "reason": refusal.reason,
        "message": refusal.message,
        "hint": refusal.hint,
        "measure": refusal.measure,
        "value": None if refusal.value is None else float(refusal.value),
        "limit": None if refusal.limit is None else float(refusal.limit),
        "attempt": attempt,
    }


@contextmanager
def refuse_unexpected() -> Iterator[None]:
    """Turn unexpected errors into a refusal, so that only this source or clip fails, not its part, unit or run.

    A `UserError` passes unchanged, since only the user can fix its cause (such as a full disk). A `KilledError` passes
    too: its work is repeated.
    """
    try:
        with disk_errors(Path("the output")):
            yield
    except (Refusal, UserError, KilledError):
        raise
    except MemoryError as error:
        raise Refusal(
            "out_of_memory", "not enough memory", "lower curate.max_frames or use fewer workers"
        ) from error
    except Exception as error:  # a library error on strange input must fail only that input
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__} in {Path(where.filename).name}, {where.name}: {error}"
        raise Refusal("internal", text, "please report it with the file") from error


def files_of(out: Output, owner: str) -> list[str]:
    """Names of the failure files of a part or unit."""
    return sorted(name for name in published_names(out.failures) if failures_owner(name) == owner)


def publish_failures(out: Output, owner: str, rows: list[Row], put: Put = publish) -> None:
    """Publish failure rows of a part or unit; with `put=exchange` they replace all earlier ones."""
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
    except UserError:  # damaged, or being purged
        same = False
    if not same:
        digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:8]
        write_table(table, out.failures / f"{more_failures_name(owner, digest)}.parquet", out.tmp)


def read_failures(out: str | Path | Store, *, lenient: bool = False) -> pa.Table:
    """Failure rows that are still valid: a later attempt replaces earlier ones, whether it succeeded or not.

    Rows about a missing stream of a clip that is in the index are kept; rows of withdrawn sources are left out.

    Args:
        out: the data set.
        lenient: skip files that cannot be read, which `verify` reports.
    """
    store = out if isinstance(out, Store) else Store.open(out)
    schema = schema_of(FAILURES)
    rows = []
    for name in store.names("failures"):
        with suppress(UserError) if lenient else nullcontext():
            rows += store.table("failures", name, schema.names).to_pylist()
    withdrawn = read_withdrawn(store)
    latest: dict[tuple[Any, ...], int] = {}
    for row in rows:
        latest[_subject(row)] = max(latest.get(_subject(row), 0), row["attempt"] or 1)
    owners = {f"{failures_owner(table_name(name))}.parquet" for name in store.names("failures")}
    made = _later_results(store, owners, "index", ["clip_id"], lenient)
    curated = _later_results(store, owners, "clips", ["source", "clip_id"], lenient)
    last = {(*_subject(row), row["attempt"] or 1): number for number, row in enumerate(rows)}
    kept = [
        row
        for number, row in enumerate(rows)
        if (row["attempt"] or 1) == latest[_subject(row)]
        and last[(*_subject(row), row["attempt"] or 1)] == number
        and not (row["stream"] is None and row["clip_id"] in made)
        and not (row["unit"] is None and (row["clip_id"] or row["source"]) in curated)
        and not withdrawn.covers(row["source"], None)
    ]
    return pa.Table.from_pylist(kept, schema=schema)


def failures_by_reason(store: Store) -> dict[str, int]:
    """Number of sources and clips that are left out, by reason; missing streams are not counted."""
    failures = read_failures(store)
    return count_values(failures.filter(pc.is_null(failures["stream"]))["reason"])


def _subject(row: dict[str, Any]) -> tuple[Any, ...]:
    """Key of the source, the clip, or the stream of a clip that a failure row is about."""
    return row["source"], row["clip_id"], row["stream"]


def _later_results(
    store: Store, owners: set[str], folder: str, columns: list[str], lenient: bool
) -> set[str]:
    """Values of some columns in tables that may hold the later result of a failed source or clip.

    These are the tables of retries (`-r1` ...) and of the parts or units that have failure files.
    """
    found: set[str] = set()
    for name in store.names(folder):
        if is_again(name) or name in owners:
            with suppress(UserError) if lenient else nullcontext():
                table = store.table(folder, name, columns)
                for column in columns:
                    found |= set(table[column].to_pylist())
    return found


def count_values(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value of a column occurs, nulls left out; the most frequent first, then by name."""
    counted = Counter(value for value in column.to_pylist() if value is not None)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
