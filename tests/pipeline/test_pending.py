"""Pending tasks: a clip is made by the last unit that asks for it."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from datagen.output.paths import Output
from datagen.output.publish import write_table
from datagen.output.schema import INDEX, PLAN, WAVE, schema_of
from datagen.pipeline.pending import synthesise_tasks
from datagen.pipeline.retries import read_retries
from datagen.recipe import Recipe

CLIPS = ("a", "b", "c")


@pytest.fixture
def out(tmp_path):
    """A frozen wave of one unit with three clips, and two retries of that unit."""
    made = Output(tmp_path / "out")
    made.create()
    (made.waves / "w000.json").write_text('{"first": 0, "last": 0}')
    rows = [
        {"piece": "p00000", "unit": "p00000-u00", "clip_id": clip, "source": "x.mp4", "source_key": "x.mp4"}
        | {"frames": 10, "split": "train", "rank": 0}
        for clip in CLIPS
    ]
    write_table(pa.Table.from_pylist(rows, schema=schema_of(WAVE)), made.waves / "w000.parquet", made.tmp)
    plan = [{"part": "p00000", "source": "x.mp4", "source_key": "x.mp4"}]
    write_table(
        pa.Table.from_pylist(plan, schema=schema_of(PLAN)), made.plan / "sources-00000.parquet", made.tmp
    )
    for number, clips in ((1, ["a", "b"]), (2, ["b"])):
        asked = {"number": number, "parts": {}, "units": {"p00000-u00": clips}}
        (made.retries / f"r{number:05d}.json").write_text(json.dumps(asked))
    return made


def listed(out: Output) -> dict[str, list[str]]:
    tasks = synthesise_tasks(out, Recipe()).tasks
    return {task.name: [row["clip_id"] for row in task.clips] for task in tasks}


def test_a_lost_unit_does_not_repeat_the_clips_of_a_retry(out):
    assert listed(out) == {"p00000-u00": ["c"], "p00000-u00-r1": ["a"], "p00000-u00-r2": ["b"]}
    write_table(schema_of(INDEX).empty_table(), out.index / "p00000-u00-r2.parquet", out.tmp)
    assert listed(out) == {"p00000-u00": ["c"], "p00000-u00-r1": ["a"]}


def test_a_retry_emptied_by_a_purge_is_skipped(out):
    (out.retries / "r00002.json").write_text('{"number": 2, "parts": {}, "units": {"p00000-u00": []}}')
    assert listed(out) == {"p00000-u00": ["c"], "p00000-u00-r1": ["a", "b"]}
    assert read_retries(out)[1].units == {}
