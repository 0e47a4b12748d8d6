"""Failures that two tries leave about one part or unit."""

from __future__ import annotations

import pytest

from datagen.common.errors import UserError
from datagen.inspect.query import read_failures
from datagen.inspect.verify import verify
from datagen.output.failures import files_of, publish_failures
from datagen.output.publish import exchange
from datagen.output.store import Store
from tests.shards.made import write_unit


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


def test_a_try_that_ended_otherwise_loses_no_row(output):
    publish_failures(output, "p00000-u00", [lost("one")])
    publish_failures(output, "p00000-u00", [lost("one")])
    assert files_of(output, "p00000-u00") == ["p00000-u00"]
    publish_failures(output, "p00000-u00", [lost("one", "changed"), lost("two")])
    assert len(files_of(output, "p00000-u00")) == 2
    assert listed(output) == {("one", "changed"), ("two", "damaged")}


def test_a_clip_that_came_out_after_all_is_no_failure(output):
    made = "clip0000-0a1b2c3d-t0-f0"
    publish_failures(
        output, "p00000-u00", [lost(made)]
    )  # then the driver was killed, and the source was mended
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


def test_a_column_name_that_is_no_text_is_one_clear_line(dataset):
    path = dataset.index / "p00000-u00.parquet"
    path.write_bytes(path.read_bytes().replace(b"clip_id", b"cl\x92p_id"))
    with pytest.raises(UserError, match="cannot be read"):
        Store.open(dataset.root).table("index", path.name)
    assert "p00000-u00" in verify(dataset.root).damaged_units
