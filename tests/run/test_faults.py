"""What kills a process, fills the disk or is withdrawn costs only itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from datagen.common.seeding import seed_of
from datagen.inspect.verify import verify
from datagen.output.failures import read_failures
from datagen.shards import Dataset

from .conftest import command, published

BACKEND = """
import os, signal
from datagen.synthesise.swap.mesh import MeshSwap

class Killer(MeshSwap):
    name = "killer"

    def __call__(self, frames, faces, donor, seed=0):
        if str(seed) in os.environ.get("KILLING_SEEDS", "").split():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(frames, faces, donor, seed)

def make(recipe):
    return Killer(shape=recipe.swap.shape, max_yaw_difference=recipe.swap.max_yaw_difference)
"""


@pytest.fixture
def killer(tmp_path):
    """A swap backend of another package that kills its process for chosen clips."""
    folder = tmp_path / "plugin"
    info = folder / "killer-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "killer_backend.py").write_text(BACKEND)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: killer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[megactor_datagen.swap]\nkiller = killer_backend:make\n")
    return folder


def victim(reference):
    """A clip that shares its unit with another one, and the seed its swap is called with."""
    for path in sorted((reference[0] / "index").glob("*.parquet")):
        clips = sorted(pq.read_table(path)["clip_id"].to_pylist())
        if len(clips) > 1:
            return clips[0], seed_of(7, clips[0], "swap"), path.stem
    raise AssertionError("the reference run has no unit of two clips")


@pytest.mark.parametrize("runner", ["ray", "local"])
def test_a_clip_that_kills_its_process_costs_only_itself(
    reference, footage, recipe, tmp_path, killer, runner
):
    clip, seed, unit = victim(reference)
    out = tmp_path / "out"
    arguments = [
        "run",
        "--input",
        footage,
        "--recipe",
        recipe,
        "--output",
        out,
        "--set",
        "swap.backend=killer",
    ]
    from .conftest import ROOT

    environment = {"KILLING_SEEDS": str(seed), "PYTHONPATH": os.pathsep.join([str(ROOT), str(killer)])}
    more = ["--runner", runner, *(["--workers", "1"] if runner == "ray" else [])]
    for _ in range(4):  # in one process the crash takes the run along; the third try works in isolation
        done = command(*arguments, *more, check=False, env=environment)
        if done.returncode == 0:
            break
        assert runner == "local", done.stderr
    assert done.returncode == 0, done.stderr
    failed = [row for row in read_failures(out).to_pylist() if row["reason"] == "crashed"]
    assert [(row["clip_id"], row["unit"], row["message"]) for row in failed] == [
        (clip, unit, "killed by SIGKILL")
    ]
    expected = set(Dataset(reference[0]).table["clip_id"].to_pylist()) - {clip}
    assert set(Dataset(out).table["clip_id"].to_pylist()) == expected
    assert verify(out).faults == []
    assert not list((out / "tmp").iterdir())

    if runner == "ray":  # mended and tried again, it comes in a unit of its own
        before = published(out)
        environment.pop("KILLING_SEEDS")
        command("retry", out, "--reason", "crashed", "--runner", "local", env=environment)
        assert set(Dataset(out).table["clip_id"].to_pylist()) == expected | {clip}
        assert Dataset(out).clip(clip)["unit"] == f"{unit}-r1"
        assert {name: published(out)[name] for name in before} == before
        assert not [row for row in read_failures(out).to_pylist() if row["reason"] == "crashed"]
        assert verify(out).faults == []


def test_a_source_that_was_mended_is_retried_as_a_new_part(footage, recipe, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    heads = sorted(footage.glob("[01]-*.mp4"))
    shutil.copy(heads[0], folder / "a.mp4")
    (folder / "b.mp4").write_bytes(heads[1].read_bytes()[:700])
    out = tmp_path / "out"
    command("run", "--input", folder, "--recipe", recipe, "--output", out, "--runner", "local")
    assert [row["source"] for row in read_failures(out).to_pylist()] == ["b.mp4"]
    before = published(out)
    shutil.copy(heads[1], folder / "b.mp4")
    command("retry", out, "--runner", "local")
    assert set(Dataset(out).table["source"].to_pylist()) == {"a.mp4", "b.mp4"}
    assert {name: published(out)[name] for name in before} == before
    assert read_failures(out).num_rows == 0
    assert verify(out).faults == []
    assert command("retry", out, check=False).returncode == 1


def test_withdrawn_footage_is_hidden_then_deleted(reference, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(reference[0], out)
    source = Dataset(out).table["source"].to_pylist()[0]
    lent = {
        row["clip_id"]
        for row in Dataset(out).table.to_pylist()
        if (row["donor"] or "").startswith(Path(source).stem)
    }
    gone = {row["clip_id"] for row in Dataset(out).table.to_pylist() if row["source"] == source} | lent
    done = command("remove", out, "--source", source)
    assert f"{len(gone)} clips hidden" in done.stdout
    kept = set(Dataset(out).table["clip_id"].to_pylist())
    assert not kept & gone
    shards = {path.name for path in (out / "shards").iterdir()}
    command("compact", out, "--purge")
    assert {path.name for path in (out / "shards").iterdir()} != shards
    data = b"".join(path.read_bytes() for path in (out / "shards").iterdir())
    assert all(clip.encode() not in data for clip in gone)
    assert all(clip.encode() in data for clip in kept)
    traces = [
        path for path in out.rglob("*") if path.is_file() and Path(source).stem.encode() in path.read_bytes()
    ]
    assert traces == []
    assert set(Dataset(out).table["clip_id"].to_pylist()) == kept
    assert verify(out).faults == []
    assert "no source 'nobody.mp4'" in command("remove", out, "--source", "nobody.mp4", check=False).stderr


def test_status_tells_how_far_a_run_is(reference):
    text = command("status", reference[0]).stdout
    for part in ("8 sources in 4 parts", "4 of 4 parts", "finished synthesise"):
        assert part in text
    failed = [json.loads(line) for line in command("failures", reference[0], "--json").stdout.splitlines()]
    assert {row["source"] for row in failed if row["stream"] is None} == {
        "corrupt.mp4", "text.mp4", "zero.mp4", "no face.mp4",
    }  # fmt: skip


@pytest.fixture
def small_disk(tmp_path):
    """A folder of a few hundred kilobytes on a file system of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_run_with_one_line_and_loses_nothing(reference, footage, recipe, small_disk):
    out = small_disk / "out"
    arguments = ["run", "--input", footage, "--recipe", recipe, "--output", out, "--runner", "local"]
    done = command(*arguments, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "full" in done.stderr or "No space left" in done.stderr
    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    command(*arguments)
    assert published(out) == published(reference[0])
    assert not list((out / "tmp").iterdir())
