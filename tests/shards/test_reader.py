"""Clips and columns, read by our reader and by common tools."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from safetensors.numpy import save

from datagen.common.errors import UserError
from datagen.output.paths import Output
from datagen.shards import Dataset, ShardWriter
from datagen.shards.writer import publish_unit, row_json
from tests.shards.made import clip_row


def test_webdataset_reads_shards_as_they_are(dataset: Output) -> None:
    urls = sorted(str(path) for path in dataset.shards.iterdir())
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    rows = Dataset(dataset.root).table.to_pylist()
    assert [sample["__key__"] for sample in samples] == [row["clip_id"] for row in rows]
    assert samples[1]["video.mp4"] == b"\1" * 700
    assert json.loads(samples[0]["json"])["clip_id"] == samples[0]["__key__"]


def test_duckdb_and_pyarrow_read_the_index(dataset: Output) -> None:
    pieces = str(dataset.index / "*.parquet")
    found = duckdb.sql(f"select sum(frames), count(*), max(members[1].size) from '{pieces}'").fetchall()
    assert found[0][:2] == (33 + 34 + 35 + 33 + 34, 5)
    assert pq.read_table(dataset.index).num_rows == 5


def test_reading_a_file_takes_one_range_read(dataset: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Dataset(dataset.root)
    reads = []
    read = type(data.store).read
    monkeypatch.setattr(type(data.store), "read", lambda *a, **k: reads.append(k) or read(*a, **k))
    row = data.row(4)
    assert data.read(row["clip_id"], "video.mp4") == b"\1" * 700
    assert [item["size"] for item in reads] == [700]
    files = data.read_all(row)
    assert files["mask.mp4"] == b"" and files["video.mp4"] == b"\1" * 700 and len(reads) == 2
    assert files["json"] == row_json(row)
    with pytest.raises(UserError, match=r"has no styled.mp4; it has json, mask.mp4, video.mp4"):
        data.read(row, "styled.mp4")


def test_where_is_sql_over_the_index_and_nothing_else(dataset: Output) -> None:
    assert len(Dataset(dataset.root, "frames >= 34 and unit like '%u00'")) == 2
    chosen = Dataset(dataset.root, "face_area > 0.15", columns=["frames"])
    assert chosen.table.column_names == ["clip_id", "shard", "members", "frames"]
    assert chosen.table["frames"].to_pylist() == [34, 35, 34]
    assert Dataset(dataset.root, columns=["unit"], files=False).table.column_names == ["clip_id", "unit"]
    assert len(Dataset(dataset.root, "false")) == 0
    for bad in ("nonsense = 1", "frames >", "1=1; drop table clips", "true) or (true", "frames = 'x'", ""):
        with pytest.raises(UserError, match="--where") as error:
            Dataset(dataset.root, bad)
        assert "\n" not in str(error.value)
    for spying in ("unit in (select * from read_csv('/etc/passwd'))", "exists (from '/etc/passwd')"):
        with pytest.raises(UserError):
            Dataset(dataset.root, spying)


def test_messages_for_what_is_not_there(dataset: Output, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished unit"):
        Dataset(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no clip 'nobody'"):
        Dataset(dataset.root).clip("nobody")
    with pytest.raises(UserError, match="no column 'colour'"):
        Dataset(dataset.root, columns=["colour"])
    with pytest.raises(UserError, match="cannot open"):
        Dataset("nosuchscheme://bucket/set")
    for shard in dataset.shards.iterdir():
        shard.write_bytes(shard.read_bytes()[:600])
    with pytest.raises(UserError, match="cut short; `verify`"):
        data = Dataset(dataset.root)
        data.read(data.row(0), "video.mp4")


def test_face_arrays_round_trip(output: Output, tmp_path: Path) -> None:
    shard = ShardWriter(output.tmp / "a.tar")
    row = clip_row("p00000-u00", 0)
    arrays = {"pose": np.arange(6, dtype=np.float16).reshape(2, 3)}
    row["members"] = shard.add(row["clip_id"], {"face.safetensors": save(arrays)})
    publish_unit(output, "p00000-u00", shard, [row], [])
    np.testing.assert_array_equal(Dataset(output.root).faces(row["clip_id"])["pose"], arrays["pose"])
