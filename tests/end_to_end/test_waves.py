"""Parts curated late, overlapping stages, limits that cut waves: nothing is lost, and same waves give same bytes."""

from __future__ import annotations

import json
import shutil

import pytest

from datagen.output.failures import read_failures
from tests.end_to_end.people import BROKEN, NAMES, bytes_of, call, curated, rows
from tests.reference_run import running

pytestmark = pytest.mark.usefixtures("in_process")


def test_a_part_that_is_curated_late_is_synthesised(plain_output, people_set, tmp_path):
    out = curated(plain_output, tmp_path / "out")
    (out / "clips" / "p00000.parquet").unlink()
    done = call("synthesise", out, code=1)
    assert "wave w000 waits for 1 of 5 parts" in done.stderr
    assert not list((out / "index").iterdir())
    assert "4 of 5 parts" in call("status", out).stdout
    call("run", *people_set.words("plain.yaml"), "--output", out)
    assert bytes_of(out) == bytes_of(plain_output)


def test_a_piece_of_the_clip_table_lost_after_the_freeze_is_made_again(plain_output, tmp_path):
    out = shutil.copytree(plain_output, tmp_path / "out")
    (out / "clips" / "p00003.parquet").unlink()
    call("curate", out)
    assert bytes_of(out) == bytes_of(plain_output)


def test_synthesise_beside_curate(plain_output, people_set, tmp_path):
    out = tmp_path / "out"
    call("plan", *people_set.words("plain.yaml"), "--output", out)
    with running(["curate", out, "--runner", "local"]) as curating:
        tries = 0
        while curating.poll() is None:
            call("synthesise", out, code=None)
            tries += 1
    assert curating.returncode == 0
    assert tries > 1
    call("synthesise", out)
    assert bytes_of(out) == bytes_of(plain_output)


def test_the_same_limits_give_the_same_bytes_whatever_stages_follow(people_set, tmp_path):
    """A limit cuts a wave of its own, whose donors are chosen among its own clips."""
    few = people_set.copy(tmp_path / "few")
    for name in (NAMES[0], NAMES[3]):
        shutil.rmtree(few.footage / name)
    settings = ("--set", "stylise.backends=[]", "--set", "split.val=0")
    one, other = tmp_path / "one", tmp_path / "other"
    call("run", *few.words(), *settings, "--output", one, "--limit", 2)
    first = bytes_of(one)
    call("run", *few.words(), *settings, "--output", one)
    call("plan", *few.words(), *settings, "--output", other)
    call("curate", other, "--limit", 2)
    call("curate", other)
    call("synthesise", other)
    assert bytes_of(one) == bytes_of(other)
    assert first.items() <= bytes_of(one).items()
    waves = [json.loads(path.read_text()) for path in sorted((one / "plan/waves").glob("*.json"))]
    assert waves == [{"first": 0, "last": 1}, {"first": 2, "last": 2}]
    assert {row["subject"] for row in rows(one)} == {NAMES[1], NAMES[2]}
    assert [row["source"] for row in read_failures(one).to_pylist()] == [BROKEN]


def test_later_sources_make_a_wave_of_their_own(plain_output, people_set, tmp_path):
    out, more = tmp_path / "out", people_set.copy(tmp_path / "more")
    shutil.copytree(plain_output, out)
    before = bytes_of(out)
    shutil.copy(more.video(0), more.footage / NAMES[0] / "again.mp4")
    done = call("run", *more.words("plain.yaml"), "--output", out)
    assert "root people has moved" in done.stderr
    assert before.items() <= bytes_of(out).items()
    again = next(row for row in rows(out) if row["source"].endswith("again.mp4"))
    first = next(row for row in rows(out) if row["source"].endswith("talk-0.mp4"))
    assert again["unit"] == "p00005-u00"
    assert again["duplicate_of"] in first["clip_id"] and again["split"] == first["split"]
    assert again["person"] == first["person"]
