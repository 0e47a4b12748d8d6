"""Failure rows: which rows count after several tries."""

from __future__ import annotations

import pyarrow as pa

from datagen.inspect.verify import verify
from datagen.output.failures import files_of, publish_failures, read_failures
from datagen.output.paths import Output
from datagen.output.publish import exchange, write_table
from datagen.output.schema import FAILURES, schema_of
from tests.shards.made import clip_row, write_unit


def lost(clip_id, reason="damaged", unit="p00000-u00"):
    return {
        "part": "p00000",
        "unit": unit,
        "source": f"{unit}.mp4",
        "clip_id": clip_id,
        "reason": reason,
        "attempt": 1,
    }


def listed(output):
    return {(row["clip_id"], row["reason"]) for row in read_failures(output.root).to_pylist()}


def test_a_second_try_with_another_result_keeps_all_rows(output):
    publish_failures(output, "p00000-u00", [lost("one")])
    publish_failures(output, "p00000-u00", [lost("one")])
    assert files_of(output, "p00000-u00") == ["p00000-u00"]
    publish_failures(output, "p00000-u00", [lost("one", "changed"), lost("two")])
    assert len(files_of(output, "p00000-u00")) == 2
    assert listed(output) == {("one", "changed"), ("two", "damaged")}


def test_a_clip_that_succeeded_later_is_no_failure(output):
    made = "clip0000-0a1b2c3d-t0-f0"
    publish_failures(
        output, "p00000-u00", [lost(made)]
    )  # then the driver was killed, and the source was repaired
    write_unit(output, "p00000-u00", clips=1, failures=1)
    assert listed(output) == {("lost0", "no_face")}
    assert not [line for line in verify(output.root).faults if "failures" in line]


def test_a_repaired_unit_has_its_own_failures_alone(output):
    publish_failures(output, "p00000-u00", [lost("one")])
    publish_failures(output, "p00000-u00", [lost("two")])
    publish_failures(output, "p00000-u00", [lost("three")], exchange)
    assert listed(output) == {("three", "damaged")}
    publish_failures(output, "p00000-u00", [], exchange)
    assert files_of(output, "p00000-u00") == []


def test_a_later_attempt_supersedes_a_failure(output: Output) -> None:
    def fail(unit: str, *rows: tuple[str, str, str | None, int]) -> None:
        columns = ("clip_id", "reason", "stream", "attempt")
        made = [{"source": "s", "unit": unit, **dict(zip(columns, row, strict=True))} for row in rows]
        table = pa.Table.from_pylist(made, schema=schema_of(FAILURES))
        write_table(table, output.failures / f"{unit}.parquet", output.tmp)

    solved = clip_row("p00000-u00-r1", 0)["clip_id"]
    fail(
        "p00000-u00",
        (solved, "crashed", None, 1),
        ("again", "crashed", None, 1),
        ("x", "gate_flicker", "styled", 1),
    )
    write_unit(output, "p00000-u00-r1", clips=1)
    fail("p00000-u00-r1", ("again", "no_donor", None, 2))
    left = {(row["clip_id"], row["reason"]) for row in read_failures(output.root).to_pylist()}
    assert left == {("again", "no_donor"), ("x", "gate_flicker")}
