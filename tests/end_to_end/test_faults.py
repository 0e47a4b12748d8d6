"""If an item kills a process, fills the disk or is withdrawn, only that item is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from datagen.common.seeding import seed_of
from datagen.inspect.verify import verify
from datagen.output.failures import read_failures
from datagen.shards import Dataset
from tests.end_to_end import people
from tests.reference_run import ReferenceRun
from tests.support import ROOT, command, published, run_words

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
def killer(tmp_path: Path) -> Path:
    """A swap backend of another package that kills its process for chosen clips."""
    folder = tmp_path / "plugin"
    info = folder / "killer-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "killer_backend.py").write_text(BACKEND)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: killer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[megactor_datagen.swap]\nkiller = killer_backend:make\n")
    return folder


def clip_of_a_shared_unit(run: ReferenceRun) -> tuple[str, int, str]:
    """A clip that shares its unit with another one, the seed its swap is called with, and the unit."""
    for path in sorted((run.out / "index").glob("*.parquet")):
        clips = sorted(pq.read_table(path)["clip_id"].to_pylist())
        if len(clips) > 1:
            return clips[0], seed_of(7, clips[0], "swap"), path.stem
    raise AssertionError("the run has no unit of two clips")


@pytest.mark.parametrize("runner", ["ray", "local"])
def test_a_clip_that_kills_its_process_fails_alone(
    tiny_run: ReferenceRun, tmp_path: Path, killer: Path, runner: str
) -> None:
    """In the run itself: its task is isolated after two losses, and the clips in it are tried one by one."""
    clip, seed, unit = clip_of_a_shared_unit(tiny_run)
    out = tmp_path / "out"
    environment = {"KILLING_SEEDS": str(seed), "PYTHONPATH": os.pathsep.join([str(ROOT), str(killer)])}
    more = ["--workers", 1] if runner == "ray" else []
    command(*tiny_run.words(out, runner, "--set", "swap.backend=killer", *more), env=environment)
    failed = [row for row in read_failures(out).to_pylist() if row["reason"] == "crashed"]
    assert [(row["clip_id"], row["unit"], row["message"]) for row in failed] == [
        (clip, unit, "killed by SIGKILL")
    ]
    expected = set(tiny_run.clips) - {clip}
    assert set(Dataset(out).table["clip_id"].to_pylist()) == expected
    assert verify(out).faults == []
    assert not list((out / "tmp").iterdir())

    if runner == "ray":  # without the fault, a retry makes it in a unit of its own
        before = published(out)
        del environment["KILLING_SEEDS"]
        command("retry", out, "--reason", "crashed", "--runner", "local", env=environment)
        assert set(Dataset(out).table["clip_id"].to_pylist()) == expected | {clip}
        assert Dataset(out).clip(clip)["unit"] == f"{unit}-r1"
        assert {name: published(out)[name] for name in before} == before
        assert not [row for row in read_failures(out).to_pylist() if row["reason"] == "crashed"]
        assert verify(out).faults == []


@pytest.mark.usefixtures("in_process")
def test_a_repaired_source_is_retried_as_a_new_part(tiny_run: ReferenceRun, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    heads = [tiny_run.footage / f"head {number}.mp4" for number in (0, 1)]
    shutil.copy(heads[0], folder / "a.mp4")
    (folder / "b.mp4").write_bytes(heads[1].read_bytes()[:700])
    people.call(*run_words(folder, tiny_run.recipe, out, "local", *tiny_run.pictures))
    assert [row["source"] for row in read_failures(out).to_pylist()] == ["b.mp4"]
    before = published(out)
    shutil.copy(heads[1], folder / "b.mp4")
    people.call("retry", out)
    assert set(Dataset(out).table["source"].to_pylist()) == {"a.mp4", "b.mp4"}
    assert {name: published(out)[name] for name in before} == before
    assert read_failures(out).num_rows == 0
    assert verify(out).faults == []
    people.call("retry", out, code=1)


def test_withdrawn_footage_is_hidden_then_deleted(tiny_run: ReferenceRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(tiny_run.out, out)
    source = Dataset(out).table["source"].to_pylist()[0]
    lent = {
        row["clip_id"]
        for row in Dataset(out).table.to_pylist()
        if (row["donor"] or "").startswith(Path(source).stem)
    }
    gone = {row["clip_id"] for row in Dataset(out).table.to_pylist() if row["source"] == source} | lent
    done = people.call("remove", out, "--source", source)
    assert f"{len(gone)} clips hidden" in done.stdout
    kept = set(Dataset(out).table["clip_id"].to_pylist())
    assert not kept & gone
    shards = {path.name for path in (out / "shards").iterdir()}
    people.call("compact", out, "--purge")
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
    assert "no source 'nobody.mp4'" in people.call("remove", out, "--source", "nobody.mp4", code=None).stderr


def test_status_tells_how_far_a_run_is(tiny_run: ReferenceRun) -> None:
    text = people.call("status", tiny_run.out).stdout
    for part in ("8 sources in 4 parts", "4 of 4 parts", "finished synthesise"):
        assert part in text
    listed = people.call("failures", tiny_run.out, "--json").stdout
    failed = [json.loads(line) for line in listed.splitlines()]
    assert {row["source"] for row in failed if row["stream"] is None} == {
        "corrupt.mp4", "text.mp4", "zero.mp4", "no face.mp4",
    }  # fmt: skip


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
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


def test_a_full_disk_ends_the_run_with_one_line_and_loses_nothing(
    tiny_run: ReferenceRun, small_disk: Path
) -> None:
    out = small_disk / "out"
    done = command(*tiny_run.words(out), check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "full" in done.stderr or "No space left" in done.stderr
    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    command(*tiny_run.words(out))
    assert published(out) == tiny_run.hashes
    assert not list((out / "tmp").iterdir())
