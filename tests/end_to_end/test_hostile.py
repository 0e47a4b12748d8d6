"""Damaged and hostile files beside and inside an output give a one-line error each."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib

import cv2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.bundled.demo_set import portraits
from datagen.common.errors import UserError
from datagen.donors.candidates import measured_portraits
from datagen.faces import FaceAnalyser
from datagen.inspect.verify import verify
from datagen.output.paths import Output
from datagen.output.publish import save_table
from datagen.output.schema import FAILURES, INDEX, schema_of
from datagen.recipe import Recipe
from datagen.shards import Dataset
from datagen.shards.compact import compact_index
from tests.end_to_end.people import NAMES, call

pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture
def out(plain_output, tmp_path):
    return shutil.copytree(plain_output, tmp_path / "out")


def one_line(done):
    errors = [line for line in done.stderr.splitlines() if line.startswith(("error", "internal"))]
    assert len(errors) == 1 and not errors[0].startswith("internal"), done.stderr
    return errors[0]


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("shard", ["../../secret.tar", "/etc/passwd", "..\\secret", None])
def test_an_index_that_points_outside_the_data_set_opens_no_file(out, shard, merged):
    (out.parent / "secret.tar").write_text("secret of this machine")
    piece = sorted((out / "index").iterdir())[0]
    listed = pq.read_table(piece).to_pylist()
    listed[0]["shard"] = shard
    listed[0]["members"][0] |= {"offset": 0, "size": 6}
    save_table(pa.Table.from_pylist(listed, schema=schema_of(INDEX)), piece)
    if merged:
        compact_index(Output(out))
    data = Dataset(out)
    row = data.clip(listed[0]["clip_id"])
    for read in (lambda: data.read(row, data.suffixes(row)[0]), lambda: data.read_all(row)):
        with pytest.raises(UserError, match=r"outside itself|names no file"):
            read()
    assert any("not a shard of this unit" in fault for fault in verify(out).faults)


DAMAGE = [
    ("plan/sources-00000.parquet", b"", ["status"]),
    ("clips/p00000.parquet", b"x" * 50, ["compact", "--purge"]),
    ("plan/waves/w000.parquet", b"x", ["compact", "--purge"]),
    ("plan/donors/w000.parquet", b"", ["compact", "--purge"]),
    ("plan/retries/r00001.json", b"{", ["status"]),
    ("plan/retries/r00001.json", b'"x"', ["retry"]),
    ("plan/roots.json", b"[1]", ["synthesise"]),
    ("plan/waves/w000.json", b"{}", ["status"]),
    ("index/p00000-u00.parquet", b"", ["compact", "--purge"]),
    ("withdrawn/x.json", b'{"source": [], "subject": null, "donors": []}', ["inspect"]),
    ("run.json", b"[", ["status"]),
]


@pytest.mark.parametrize(("name", "data", "words"), DAMAGE, ids=[f"{d[0]}-{d[2][0]}" for d in DAMAGE])
def test_a_damaged_file_is_named_in_one_error_line(out, name, data, words):
    call("remove", out, "--subject", NAMES[3])
    (out / name).write_bytes(data)
    if name == "plan/roots.json":
        (out / "index" / "p00000-u00.parquet").unlink()
    line = one_line(call(words[0], out, *words[1:], code=None))
    assert name.rpartition("/")[2] in line


@pytest.mark.parametrize("data", [b"[]", b'{"state": "running"}', b"\xff"])
def test_a_damaged_status_file_stops_no_command(out, data):
    (out / "logs" / "status.json").write_bytes(data)
    assert "is damaged" in call("status", out).stdout


@pytest.mark.parametrize(
    ("key", "value"), [("donors", 3), ("styles", []), ("contents", None), ("recipe_hash", None)]
)
def test_a_damaged_record_is_one_error_line(out, key, value):
    record = json.loads((out / "run.json").read_text())
    if value is None:
        del record[key]
    else:
        record[key] = value
    (out / "run.json").write_text(json.dumps(record))
    assert "run.json" in one_line(call("synthesise", out, code=1))


def test_control_characters_of_names_do_not_reach_the_terminal(out):
    row = {"part": "p00001", "source": "bad\x1b]0;PWNED\x07\x1b[2J.mp4", "reason": "unreadable", "attempt": 1}
    table = pa.Table.from_pylist([row], schema=schema_of(FAILURES))
    save_table(table, out / "failures" / "p00001.parquet")
    for words in (["failures", out], ["failures", out, "--json"], ["status", out], ["verify", out]):
        done = call(*words, code=None)
        assert "\x1b" not in done.output and "\x07" not in done.output
    assert "PWNED" in call("failures", out).stdout


def test_a_file_that_is_not_ffmpeg_is_one_error_line(people_set, tmp_path):
    words = ["plan", *people_set.words("plain.yaml"), "--output", tmp_path / "out"]
    assert "encode.ffmpeg" in one_line(call(*words, "--set", "encode.ffmpeg=/bin/sh", code=None))
    assert "encode.ffmpeg" in one_line(call(*words, "--set", "encode.ffmpeg=/nowhere", code=None))


def bomb(side):
    """A PNG of so many pixels a side in a few kilobytes."""

    def chunk(tag, data):
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def test_a_bad_portrait_is_refused_alone(tmp_path):
    good = cv2.imencode(".png", portraits()[4].image[:, :, ::-1])[1].tobytes()
    (tmp_path / "a bomb.png").write_bytes(bomb(40_000))
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no picture")
    with open(bytes(tmp_path) + b"/b\xe4d.png", "wb") as file:
        file.write(good)
    found = {row["name"]: row["reason"] for row in measured_portraits(tmp_path, Recipe(), FaceAnalyser())}
    assert found.pop("b\\xe4d.png") is None
    assert found.keys() == {"a bomb.png", "empty.png", "text.jpg"}
    assert all(found.values()) and found["a bomb.png"] == "too_large"


def test_an_output_whose_name_is_not_utf8_is_one_error_line(people_set, tmp_path):
    out = os.fsdecode(bytes(tmp_path) + b"/o\xe4")
    done = call("run", *people_set.words("plain.yaml"), "--output", out, code=None)
    assert "is not UTF-8; use another" in one_line(done)
    assert not os.path.exists(out)
