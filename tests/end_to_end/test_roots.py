"""Roots: same names, swapped folders, output inside the footage, other working directory."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest

from datagen.output.failures import read_failures
from datagen.output.paths import Output
from datagen.pipeline.engine import Engine
from datagen.pipeline.freeze import freeze
from datagen.pipeline.inputs import RunOptions, gather
from datagen.pipeline.pending import synthesise_tasks
from datagen.pipeline.worker import WorkerSettings
from datagen.plan.parts import read_plan
from datagen.sources.roots import read_roots
from tests.end_to_end.people import NAMES, bytes_of, call, curated, rows

pytestmark = pytest.mark.usefixtures("in_process")


def padded(data: bytes, size: int) -> bytes:
    """An MP4 of exactly so many bytes."""
    pad = size - len(data)
    return data + struct.pack(">I4s", pad, b"free") + bytes(pad - 8)


def test_files_of_two_inputs_with_equal_names_and_sizes_are_all_made(people_set, tmp_path):
    out = tmp_path / "out"
    for number, day in enumerate(("day1", "day2")):
        (tmp_path / day).mkdir()
        (tmp_path / day / "0001.mp4").write_bytes(padded(people_set.video(number).read_bytes(), 200_000))
        call("run", "--input", tmp_path / day, "--recipe", people_set.folder / "plain.yaml", "--output", out)
    assert {row["source"] for row in rows(out)} == {"0001.mp4", "day2//0001.mp4"}
    assert len({row["source_sha256"] for row in rows(out)}) == 2
    assert len({row["person"] for row in rows(out)}) == 2


@pytest.mark.parametrize("command", ["run", "synthesise"])
def test_a_data_set_that_moved_is_found_with_the_root_option(plain_output, people_set, tmp_path, command):
    out, moved = curated(plain_output, tmp_path / "out"), people_set.copy(tmp_path / "moved")
    if command == "run":
        words = [*people_set.words("plain.yaml"), "--output", out, "--root", moved.footage]
    else:
        words = [out, "--root", moved.footage]
    call(command, *words)
    assert read_roots(Output(out)) == {"people": moved.footage}
    assert bytes_of(out) == bytes_of(plain_output)
    call(command, *words)
    assert bytes_of(out) == bytes_of(plain_output)


@pytest.mark.parametrize("mounted", [True, False], ids=["an empty folder", "nothing"])
def test_footage_that_is_gone_is_one_error_before_any_work(plain_output, people_set, tmp_path, mounted):
    out, lost = curated(plain_output, tmp_path / "out"), tmp_path / "lost"
    lost.mkdir()
    call("curate", out, "--root", lost)  # nothing to do
    if not mounted:
        lost.rmdir()
    before = bytes_of(out, ("failures", "index", "clips"))
    for command in ("synthesise", "retry"):
        done = call(command, out, code=1)
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        assert len(errors) == 1 and f"the footage at {lost}" in errors[0], done.stderr
    assert bytes_of(out, ("failures", "index", "clips")) == before


def test_an_output_inside_its_footage_is_not_listed(plain_output, people_set, tmp_path):
    around = people_set.copy(tmp_path / "set")
    out = shutil.copytree(plain_output, around.footage / "out")
    before = read_plan(Output(out)).num_rows
    done = call("plan", *around.words("plain.yaml"), "--output", out)
    assert "(0 new)" in done.stderr
    assert read_plan(Output(out)).num_rows == before == 5
    other = call("plan", *around.words("plain.yaml"), "--output", tmp_path / "other")
    assert "5 sources planned" in other.stderr
    assert "skipped 1: output folders of this program" in other.stderr


def test_a_replaced_source_is_a_failure_and_gives_no_clip(plain_output, people_set, tmp_path):
    out, changed = curated(plain_output, tmp_path / "out"), people_set.copy(tmp_path / "changed")
    shutil.copyfile(changed.video(2), changed.video(0))
    done = call("run", *changed.words("plain.yaml"), "--output", out)
    assert "changed since it was planned" in done.stderr
    assert {row["subject"] for row in rows(out)} == set(NAMES[1:])
    failed = {row["source"]: row["reason"] for row in read_failures(out).to_pylist()}
    assert failed[f"{NAMES[0]}/talk-0.mp4"] == "changed"
    call("verify", out)
    shutil.copyfile(people_set.video(0), changed.video(0))
    call("retry", out, "--reason", "changed")
    assert {row["subject"] for row in rows(out)} == set(NAMES)


def test_a_worker_in_another_folder_finds_a_relative_output(full_output, tmp_path, monkeypatch):
    curated(full_output, tmp_path / "out")
    shutil.copy(full_output / "plan/waves/w000.parquet", tmp_path / "out/plan/waves")
    shutil.copytree(full_output / "plan/donors", tmp_path / "out/plan/donors")
    monkeypatch.chdir(tmp_path)
    out = Output(Path("out"))
    out.create()
    inputs = gather(out, {}, RunOptions())
    freeze(out, inputs, Engine("local"))
    task = next(task for task in synthesise_tasks(out, inputs.recipe).tasks if task.clips)
    settings = WorkerSettings(out.root.absolute(), inputs.recipe, inputs.hash, None, read_roots(out))
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    report = settings()(task)
    assert report["clips"] == 1 and "failed" not in report
    assert not list((tmp_path / "elsewhere").iterdir())
