"""`verify` finds truncated, changed, missing and added data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datagen.common.errors import UserError
from datagen.inspect.verify import verify
from datagen.output.ids import shard_name
from datagen.output.paths import Output
from datagen.output.publish import write_table
from datagen.output.schema import CLIPS, PLAN, WAVE, schema_of
from datagen.shards import Dataset
from tests.inspect.made import frames_of, make_clip, publish_clip


@pytest.fixture
def copy(sound: Output, tmp_path: Path) -> Iterator[Output]:
    shutil.copytree(sound.root, tmp_path / "out")
    yield Output(tmp_path / "out")


def shard_of(output: Output) -> Path:
    return next(output.shards.iterdir())


@pytest.mark.parametrize("deep", [False, True])
def test_an_undamaged_set_has_no_faults(sound: Output, deep: bool) -> None:
    found = verify(sound.root, deep=deep)
    assert (found.faults, found.notes, found.units, found.clips) == ([], [], 1, 1)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_flipped_bit_or_cut_is_found(sound: Output, tmp_path: Path, data: st.DataObject) -> None:
    output = Output(tmp_path / "flipped")
    shutil.copytree(sound.root, output.root, dirs_exist_ok=True)
    target = data.draw(st.sampled_from([shard_of(output), output.index / "p00000-u00.parquet"]))
    content = bytearray(target.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[place:]
    target.write_bytes(content)
    assert verify(output.root).faults


def test_missing_extra_and_left_over_files(copy: Output) -> None:
    shard = shard_of(copy)
    (copy.shards / "notes.txt").write_text("x")
    (copy.index / "notes.txt").write_text("x")
    shutil.copy(shard, copy.shards / shard_name("p00000-u00", "0" * 64))
    shutil.copy(shard, copy.shards / shard_name("p00007-u00", "0" * 64))
    (copy.tmp / "left").write_text("x")
    found = verify(copy.root)
    assert [fault.partition(":")[0] for fault in found.faults] == ["index/notes.txt", "shards/notes.txt"]
    assert [note.partition(":")[0] for note in found.notes] == [
        "shards/p00000-u00-0000000000000000.tar",
        "shards/p00007-u00-0000000000000000.tar",
        "tmp/",
    ]
    shard.unlink()
    assert any("missing, but the index has 1 clips" in fault for fault in verify(copy.root).faults)


def test_rows_and_members_must_agree_both_ways(copy: Output) -> None:
    piece = copy.index / "p00000-u00.parquet"
    table = pq.read_table(piece)
    rows = table.to_pylist()
    rows[0]["members"] = [
        *rows[0]["members"][1:],
        {"name": "ghost.mp4", "offset": 0, "size": 1, "sha256": ""},
    ]
    rows[0]["members"][0]["offset"] += 512
    rows[0]["luma"] = 7.0
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), piece)
    text = "\n".join(verify(copy.root).faults)
    for part in (
        "is not in the index",
        "ghost.mp4 is missing",
        "the index says",
        "differs from the index row",
    ):
        assert part in text, text


def test_a_clip_listed_twice_or_in_a_wrong_unit_is_a_fault(copy: Output) -> None:
    shutil.copy(copy.index / "p00000-u00.parquet", copy.index / "p00000-u01.parquet")
    text = "\n".join(verify(copy.root).faults)
    assert (
        "in the index twice" in text and "says unit p00000-u00" in text and "not a shard of this unit" in text
    )


@pytest.mark.parametrize(
    ("changes", "row", "deep", "fault"),
    [
        ({"swapped": (frames_of("colour", 5), "colour")}, {}, False, "has 5 frames, the clip 6"),
        ({}, {"frames": 7}, False, "has 6 frames, the clip 7"),
        ({"face": {"box": np.zeros((5, 4), np.float16)}}, {}, False, "has box of shape (5, 4)"),
        ({"face": {"pose": np.full((6, 3), np.nan, np.float16)}}, {}, False, "pose that are not finite"),
        ({}, {"size": 32}, True, "has frames of 64x64, the clip 32x32"),
        ({"mask": (frames_of("grey"), "mask")}, {}, True, "holds values between 0 and 255"),
        (
            {"driving_swapped": (frames_of("colour") * np.uint8([1, 0, 1]), "colour")},
            {},
            True,
            "is not grey",
        ),
    ],
)
def test_faults_of_content_are_found(
    output: Output, changes: dict[str, Any], row: dict[str, Any], deep: bool, fault: str
) -> None:
    publish_clip(output, make_clip(output.tmp, **changes), **row)
    assert fault in "\n".join(verify(output.root, deep=deep).faults)
    if deep:
        assert not verify(output.root).faults


def test_a_lost_clip_is_a_fault(copy: Output) -> None:
    clip_id = Dataset(copy.root).row(0)["clip_id"]
    rows = [{"clip_id": clip, "unit": "p00000-u00", "source": "a.mp4"} for clip in (clip_id, "zlost")]
    table = pa.Table.from_pylist(rows, schema=schema_of(WAVE))
    write_table(table, copy.waves / "w000.parquet", copy.tmp)
    found = verify(copy.root)
    assert found.faults == ["p00000-u00: zlost is neither in the index nor in failures"]
    assert found.damaged_units == {"p00000-u00"}


def test_a_lost_source_is_a_fault(copy: Output) -> None:
    rows = [{"part": "p00000", "source": name} for name in ("a.mp4", "lost.mp4")]
    write_table(
        pa.Table.from_pylist(rows, schema=schema_of(PLAN)), copy.plan / "sources-00000.parquet", copy.tmp
    )
    clips = pa.Table.from_pylist([{"clip_id": "a", "source": "a.mp4"}], schema=schema_of(CLIPS))
    write_table(clips, copy.clips / "p00000.parquet", copy.tmp)
    found = verify(copy.root)
    assert found.faults == ["clips/p00000: lost.mp4 has neither clips nor a failure"]
    assert found.damaged_pieces == {"p00000"}


def test_an_empty_folder_has_nothing_to_verify(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to verify"):
        verify(tmp_path)
