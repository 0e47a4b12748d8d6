"""A whole run gives the expected data set with every runner."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import duckdb
import numpy as np
import pytest
import webdataset
from PIL import Image

from datagen.bundled.portraits import portraits
from datagen.inspect.verify import verify
from datagen.output.failures import read_failures
from datagen.output.paths import Output
from datagen.plan.parts import read_plan
from datagen.shards import Dataset
from tests.reference_run import ReferenceRun, running
from tests.support import call, command, published, run_words


def test_every_source_ends_as_a_row_or_a_failure(tiny_run: ReferenceRun) -> None:
    out = tiny_run.out
    data = Dataset(out)
    failed = read_failures(out).to_pylist()
    planned = set(read_plan(Output(out))["source"].to_pylist())
    assert planned == set(data.table["source"].to_pylist()) | {row["source"] for row in failed}
    reasons = {row["source"]: row["reason"] for row in failed if row["stream"] is None}
    assert set(reasons) == {"corrupt.mp4", "text.mp4", "zero.mp4", "no face.mp4"}
    assert reasons["zero.mp4"] == "empty_file"
    assert reasons["no face.mp4"] == "no_face"
    assert len(data) == 4
    for text in ("4 clips", "left out", "identity distance", "motion kept", "frames/s", "inspect"):
        assert text in tiny_run.printed


def test_a_clip_holds_what_the_index_says(tiny_run: ReferenceRun) -> None:
    data = Dataset(tiny_run.out)
    row = data.row(0)
    assert row["consent"] == row["licence"] == "unstated"
    assert json.loads(data.read(row, "json"))["clip_id"] == row["clip_id"]
    faces = data.faces(row)
    assert faces["landmarks"].shape == (row["frames"], 468, 3)
    for stream in (
        "video",
        "swapped",
        "styled",
        "driving_video",
        "driving_swapped",
        "driving_styled",
        "mask",
    ):
        assert f"{stream}.mp4" in data.suffixes(row), (stream, row["swap_refused"], row["style_refused"])
        assert data.frames(row, stream).shape == (row["frames"], 128, 128, 3)
    driving = data.frames(row, "driving_swapped", [0])[0]
    assert np.ptp(driving, axis=-1).max() <= 2, "driving frames are grey"
    assert (driving == 0).mean() > 0.3, "everything but the face is black"
    assert set(np.unique(data.frames(row, "mask", [5]))) <= {0, 255}
    source, swapped = data.frames(row, "video", [3])[0], data.frames(row, "swapped", [3])[0]
    assert np.abs(source.astype(int) - swapped).mean() > 1
    assert row["identity_to_source"] > 0.35
    assert {stream["stream"] for stream in row["augmentations"]} == {"video", "swapped", "styled"}


def test_common_tools_open_it(tiny_run: ReferenceRun) -> None:
    out = tiny_run.out
    shards = sorted(str(path) for path in (out / "shards").glob("*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert sorted(sample["__key__"] for sample in samples) == sorted(
        Dataset(out).table["clip_id"].to_pylist()
    )
    count = duckdb.sql(f"select count(*), min(frames) from '{out}/index/*.parquet'").fetchall()[0]
    assert count == (4, 24)


def test_the_data_set_describes_itself(tiny_run: ReferenceRun) -> None:
    card = json.loads((tiny_run.out / "croissant.json").read_text())
    fields = {field["name"] for field in card["recordSet"][0]["field"]}
    assert {"clip_id", "shard", "licence", "consent", "identity_to_source"} <= fields
    assert [licence["name"] for licence in card["license"]] == ["unstated"]
    assert "face_mesh" in (tiny_run.out / "README.md").read_text()


def test_verify_finds_it_sound(tiny_run: ReferenceRun) -> None:
    assert verify(tiny_run.out, deep=True).faults == []
    assert not list((tiny_run.out / "tmp").iterdir())


def test_a_second_run_changes_nothing(tiny_run: ReferenceRun) -> None:
    out = tiny_run.out
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    command(*tiny_run.words(out))
    assert published(out) == tiny_run.hashes
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before


def test_ray_gives_the_same_bytes(tiny_run: ReferenceRun, tmp_path: Path) -> None:
    command(*tiny_run.words(tmp_path / "out", "ray", "--workers", 2))
    assert published(tmp_path / "out") == tiny_run.hashes


def test_a_killed_driver_resumes_to_the_same_bytes(tiny_run: ReferenceRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with running(tiny_run.words(out)) as driver:
        deadline = time.monotonic() + 300
        while not list((out / "index").glob("*.parquet")) and driver.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    folders = (out / "index", out / "shards")
    done = {path: path.stat() for folder in folders for path in folder.iterdir()}
    assert any(path.parent.name == "index" for path in done)
    command(*tiny_run.words(out))
    for path, stat in done.items():
        now = path.stat()
        assert (now.st_ino, now.st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns), f"{path.name} was touched"
    assert published(out) == tiny_run.hashes
    assert not list((out / "tmp").iterdir())


def test_stages_alone_give_the_same_as_run(tiny_run: ReferenceRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ["--recipe", tiny_run.recipe, *tiny_run.pictures]
    assert call("plan", "--input", tiny_run.footage, *given, "--output", out).exit_code == 0
    command("curate", out, "--runner", "local")
    assert len(list((out / "clips").glob("*.parquet"))) == 4
    command("synthesise", out, "--runner", "local", "--recipe", tiny_run.recipe)
    assert published(out) == tiny_run.hashes


@pytest.mark.parametrize("change", [["--set", "swap.shape=0.5"], ["--donors", "donors"]])
def test_a_changed_recipe_is_refused_by_name(
    tiny_run: ReferenceRun, change: list[str], tmp_path: Path
) -> None:
    if change[0] == "--donors":
        (tmp_path / "donors").mkdir()
        Image.fromarray(portraits()[0].image).save(tmp_path / "donors" / "one.png")
        change = ["--donors", str(tmp_path / "donors")]
    done = call(*tiny_run.words(tiny_run.out, "local", *change))
    assert done.exit_code == 2
    assert "swap.shape was 0.9, now 0.5" in done.stderr or "1 donor was added" in done.stderr
    assert "Traceback" not in done.stderr


def test_dry_run_touches_nothing(tiny_run: ReferenceRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = call(*tiny_run.words(out, "local", "--dry-run"))
    assert done.exit_code == 0 and "8 to do" in done.stdout
    assert not out.exists()


MISTAKES = [
    (["run", "--output", "x"], 2, "give either a MANIFEST or"),
    (["run", "nosuch", "--output", "x"], 2, "no manifest 'nosuch'"),
    (["run", "--input", "nowhere", "--output", "x"], 2, "does not exist"),
    (["run", "--input", ".", "--output", "x", "--set", "swap.shap=1"], 2, "did you mean 'shape'"),
    (["inspect", "nowhere"], 1, "no finished unit"),
    (["verify", "nowhere"], 1, "nothing to verify"),
    (["curate", "nowhere"], 2, "holds no data set"),
    (["run"], 2, "--output"),
]


@pytest.mark.parametrize(("words", "code", "text"), MISTAKES)
def test_mistakes_are_one_line_and_a_code(
    words: list[str], code: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*words)
    assert done.exit_code == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_user_error_gives_the_same_exit_code_in_a_separate_process(tmp_path: Path) -> None:
    words, code, text = MISTAKES[0]
    done = command(*words, check=False, cwd=tmp_path)
    assert done.returncode == code
    assert text in done.stderr and "Traceback" not in done.stderr


def test_nothing_usable_is_an_error(tiny_run: ReferenceRun, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.mp4").write_text("no video")
    done = command(*run_words(folder, tiny_run.recipe, tmp_path / "out"), check=False)
    assert done.returncode == 1
    assert "has no usable clip" in done.stderr
    assert "unreadable 1" in done.stderr


def test_an_empty_folder_is_an_error(tiny_run: ReferenceRun, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = call(*run_words(tmp_path / "in", tiny_run.recipe, tmp_path / "out"))
    assert (done.exit_code, "is an empty folder" in done.stderr) == (1, True)
    assert not (tmp_path / "out").exists()
