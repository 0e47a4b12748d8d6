"""The format: what goes in comes out, by any reader, and nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from pathlib import Path

import duckdb
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from datagen.common.errors import UserError
from datagen.inspect.query import clip_details, query, read_failures, summary
from datagen.output.paths import Output
from datagen.output.publish import write_table
from datagen.output.schema import FAILURES, schema_of
from datagen.output.tombstones import withdraw
from datagen.shards import Dataset, ShardWriter
from datagen.shards.compact import compact_index
from datagen.shards.writer import publish_unit, row_json
from tests.shards.made import clip_row, write_unit

CLIP_IDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=300)
SUFFIXES = st.sampled_from(
    ["video.mp4", "json", "face.safetensors", "driving_video.mp4", "mask.mp4", "a.b.c"]
)
CLIPS = st.dictionaries(CLIP_IDS, st.dictionaries(SUFFIXES, st.binary(max_size=2000), min_size=1), max_size=5)


@settings(deadline=None, max_examples=50)
@given(CLIPS)
def test_members_round_trip(clips: dict[str, dict[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "a.tar", Path(folder) / "b.tar"]
        for path, mirrored in zip(paths, (False, True), strict=True):
            with ShardWriter(path) as shard:
                members = [
                    member
                    for clip_id, files in clips.items()
                    for member in shard.add(clip_id, dict(sorted(files.items(), reverse=mirrored)))
                ]
        data = paths[0].read_bytes()
        assert data == paths[1].read_bytes() and hashlib.sha256(data).hexdigest() == shard.close()
        with tarfile.open(paths[0]) as tar:
            assert [info.name for info in tar] == [member.name for member in members]
            assert {(info.mtime, info.uid, info.uname) for info in tar} <= {(0, 0, "")}
        for member in members:
            clip_id, _, suffix = member.name.partition(".")
            content = data[member.offset : member.offset + member.size]
            assert content == clips[clip_id][suffix]
            assert hashlib.sha256(content).hexdigest() == member.sha256


@pytest.mark.parametrize("clip_id", ["", "a.b", "A", "a b", "../a", "a/b", "ä"])
def test_clip_ids_are_strict(clip_id: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="clip id"), ShardWriter(tmp_path / "a.tar") as shard:
        shard.add(clip_id, {"json": b""})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["", ".mp4", "video..mp4", "Video.mp4", "a/b", "video.mp4."])
def test_suffixes_are_strict(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="suffix"), ShardWriter(tmp_path / "a.tar") as shard:
        shard.add("clip", {suffix: b""})


def test_huge_members_get_headers_that_hold_their_size() -> None:
    header = tarfile.TarInfo("clip.video.mp4")
    header.size = 9 << 30
    with tarfile.open(fileobj=io.BytesIO(header.tobuf(tarfile.PAX_FORMAT)), mode="r:") as tar:
        assert tar.firstmember and tar.firstmember.size == 9 << 30


def test_files_and_bytes_are_packed_alike(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content" * 500_000)
    digests = []
    for number, content in enumerate((tmp_path / "file", (tmp_path / "file").read_bytes())):
        with ShardWriter(tmp_path / f"{number}.tar") as shard:
            shard.add("clip", {"video.mp4": content})
        digests.append(shard.close())
    assert digests[0] == digests[1]


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


def test_one_file_costs_one_range_read(dataset: Output, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_object_stores_are_read_like_folders(dataset: Output) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(dataset.root), "/sets/one", recursive=True)
    rows = Dataset(dataset.root).table
    for uri in ("memory://sets/one", dataset.root.as_uri()):
        data = Dataset(uri)
        assert data.table == rows and data.read(data.row(1), "video.mp4") == b"\1" * 700
    memory.rm("/sets", recursive=True)


def test_a_store_that_fails_once_is_asked_again(dataset: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(dataset.root), "/flaky", recursive=True)
    data = Dataset("memory://flaky")
    answers = [OSError("500 Internal Server Error"), None, *[OSError("503 Slow Down")] * 3]
    opened = type(memory).open

    def flaky(*arguments: object, **options: object) -> object:
        if error := answers.pop(0):
            raise error
        return opened(*arguments, **options)

    monkeypatch.setattr(type(memory), "open", flaky)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert data.read(data.row(0), "video.mp4") == b"\0" * 700
    with pytest.raises(UserError, match="503 Slow Down"):
        data.read(data.row(0), "video.mp4")


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


def test_withdrawn_footage_is_gone_for_every_reader(dataset: Output) -> None:
    open_before = Dataset(dataset.root)
    rows = {row["unit"]: row for row in open_before.table.to_pylist()}
    assert open_before.read(rows["p00000-u00"], "video.mp4")
    assert withdraw(dataset, sources=["p00000-u00.mp4"]) and not withdraw(dataset, sources=["p00000-u00.mp4"])
    with pytest.raises(UserError, match="was withdrawn after"):
        open_before.read(rows["p00000-u00"], "video.mp4")
    assert open_before.read(rows["p00000-u01"], "video.mp4")
    assert b"p00000" not in next(dataset.withdrawn.iterdir()).read_bytes()
    assert [row["unit"] for row in Dataset(dataset.root).table.to_pylist()] == ["p00000-u01"] * 2
    withdraw(dataset, subject="person 1")
    data = Dataset(dataset.root, "frames > 0")
    assert len(data) == 1
    with pytest.raises(UserError, match="no clip"):
        data.clip(clip_row("p00000-u00", 0)["clip_id"])
    next(dataset.withdrawn.iterdir()).write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        Dataset(dataset.root)


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


def test_inspection_answers_in_plain_values(dataset: Output) -> None:
    data = Dataset(dataset.root)
    found = summary(data)
    assert json.loads(json.dumps(found)) == found
    assert (found["clips"], found["frames"], found["subjects"], found["splits"]) == (5, 169, 3, {"train": 5})
    assert found["streams"] == {"mask": 5, "video": 5} and found["failures"] == {"no_face": 1}
    assert found["medians"]["face_area"] == 0.2
    assert query(data, ["frames"])[0] == {"frames": 33}
    assert clip_details(data, data.row(0)["clip_id"])["files"]["video.mp4"] == 700
    assert summary(Dataset(dataset.root, "false"))["clips"] == 0


def test_face_arrays_come_back(output: Output, tmp_path: Path) -> None:
    shard = ShardWriter(output.tmp / "a.tar")
    row = clip_row("p00000-u00", 0)
    arrays = {"pose": np.arange(6, dtype=np.float16).reshape(2, 3)}
    row["members"] = shard.add(row["clip_id"], {"face.safetensors": save(arrays)})
    publish_unit(output, "p00000-u00", shard, [row], [])
    np.testing.assert_array_equal(Dataset(output.root).faces(row["clip_id"])["pose"], arrays["pose"])


def test_a_compacted_index_reads_like_its_pieces(dataset: Output) -> None:
    before = Dataset(dataset.root).table
    assert compact_index(dataset) == 5
    assert Dataset(dataset.root).table == before
    write_unit(dataset, "p00000-u03", clips=1)
    assert len(Dataset(dataset.root)) == 6
    assert len(Dataset(dataset.root, "unit = 'p00000-u03' or frames = 33")) == 3
    assert compact_index(dataset) == 6 and len(Dataset(dataset.root)) == 6
    assert not list(dataset.tmp.iterdir())
