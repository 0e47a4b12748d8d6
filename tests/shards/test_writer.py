"""Shards: contents round-trip, and the bytes depend on the content alone."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.output.paths import Output, published_names
from datagen.shards import Dataset, ShardWriter
from tests.shards.made import write_unit
from tests.support import start_python

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


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


KILLED = """
import os, signal, sys, pathlib
from datagen.output.paths import Output
from tests.shards.made import write_unit

def dying(function, calls):
    def call(*arguments):
        calls.append(function)
        if len(calls) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return call

dies_at = 0
while True:
    dies_at += 1
    child = os.fork()
    if not child:
        output, calls = Output(pathlib.Path(sys.argv[1]) / str(dies_at)), []
        output.create()
        os.link, os.fsync, os.unlink = (dying(function, calls) for function in (os.link, os.fsync, os.unlink))
        write_unit(output, "p00000-u00", failures=1)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(dies_at - 1)
"""


def test_a_kill_at_any_step_leaves_a_whole_unit_or_none(tmp_path: Path) -> None:
    whole = Output(tmp_path / "whole")
    whole.create()
    write_unit(whole, "p00000-u00", failures=1)
    wanted = snapshot(whole.root)
    kills = int(start_python(KILLED, tmp_path).communicate()[0])
    assert kills >= 9, "link and two syncs for each of three files"
    published = 0
    for step in range(1, kills + 1):
        output = Output(tmp_path / str(step))
        if published_names(output.index):
            published += 1
            data = Dataset(output.root)
            assert [data.read(data.row(number), "video.mp4")[:1] for number in (0, 1)] == [b"\0", b"\1"]
        output.clear_stale_tmp()
        write_unit(output, "p00000-u00", failures=1)
        assert snapshot(output.root) == wanted
    assert 0 < published < kills


BOTH = """
import sys, pathlib
from datagen.output.paths import Output
from tests.shards.made import write_unit
output = Output(pathlib.Path(sys.argv[1]))
print(sum(write_unit(output, f"p00000-u{number:02d}", failures=1) for number in range(30)))
"""


def test_two_drivers_publish_each_unit_once(output: Output, tmp_path: Path) -> None:
    drivers = [start_python(BOTH, output.root) for _ in range(2)]
    first = [int(driver.communicate()[0]) for driver in drivers]
    assert sum(first) == 30 and [driver.returncode for driver in drivers] == [0, 0]
    assert not list(output.tmp.iterdir())
    alone = Output(tmp_path / "alone")
    alone.create()
    for number in range(30):
        write_unit(alone, f"p00000-u{number:02d}", failures=1)
    assert snapshot(output.root) == snapshot(alone.root)


def test_publishing_never_touches_what_is_there(dataset: Output) -> None:
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in dataset.shards.iterdir()}
    assert not write_unit(dataset, "p00000-u00", clips=3)
    assert before == {
        path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in dataset.shards.iterdir()
    }
