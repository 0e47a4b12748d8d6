"""A run that stopped and went on is the run that never stopped."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from datagen.common.errors import UserError
from datagen.common.owner import owner_id
from datagen.common.staging import staging_of
from tests.trainer.train.conftest import CPU, losses
from tests.trainer.train.runs import silent, train_alone
from trainer.checkpoints.tensor_files import read_tensors
from trainer.train.job import Job
from trainer.train.loop import train
from trainer.train.state.checkpoint import checkpoints, clear_leftovers

MakeJob = Callable[..., Job]


def tensors(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint by file and name."""
    return {
        f"{path.relative_to(checkpoint)}:{name}": tensor
        for path in sorted(checkpoint.rglob("*.safetensors"))
        for name, tensor in read_tensors(path).items()
    }


def assert_same_run(one: Path, other: Path) -> None:
    assert losses(one) == losses(other)
    first, second = (tensors(checkpoints(run)[-1]) for run in (one, other))
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


@pytest.fixture
def whole(job: MakeJob) -> Path:
    """A joint run of four steps that nothing disturbed."""
    made = job("tiny-joint", run="whole")
    train(made, CPU, silent)
    return made.output


def stop_after(step: int) -> Callable[[str], None]:
    def say(text: str) -> None:
        if text.startswith(f"step {step}/"):
            os.kill(os.getpid(), signal.SIGTERM)

    return say


def test_sigterm_ends_with_a_checkpoint_and_resume_is_bit_identical(job: MakeJob, whole: Path) -> None:
    made = job("tiny-joint", run="stopped")
    outcome = train(made, CPU, stop_after(1))
    assert not outcome.finished and outcome.steps in (1, 2)
    assert outcome.checkpoint == checkpoints(made.output)[-1]
    torch.rand(3)  # whatever happens in between
    resumed = train(replace(made, resume=True), CPU, silent)
    assert resumed.finished
    assert_same_run(whole, made.output)


def test_sigkill_and_resume_is_bit_identical(job: MakeJob, whole: Path) -> None:
    made = job("tiny-joint", run="killed")
    process = multiprocessing.get_context("spawn").Process(target=train_alone, args=(made,))
    process.start()
    while process.is_alive() and 3 not in (
        losses(made.output) if (made.output / "log.jsonl").exists() else {}
    ):
        time.sleep(0.02)
    process.kill()
    process.join()
    left = made.output / "checkpoints" / f".step-00000009~{owner_of(process.pid)}.tmp"
    left.mkdir()  # as a kill while saving leaves it
    train(replace(made, resume=True), CPU, silent)
    assert_same_run(whole, made.output)
    assert not left.exists()


def owner_of(gone: int) -> str:
    """What `owner_id` said in a process of this machine that is gone."""
    return owner_id().replace(f"~{os.getpid()}~", f"~{gone}~")


def test_resume_removes_what_killed_saves_left_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    stale = [f".step-00000003~{owner_of(2**22 + 1)}.tmp", ".step-00000001.old", ".step-00000009.77.tmp"]
    kept = [staging_of(folder / "step-00000004").name, "step-00000002", "notes.tmp"]
    for name in (*stale, *kept):
        (folder / name / "model").mkdir(parents=True)
    assert sorted(clear_leftovers(tmp_path)) == sorted(stale)
    assert sorted(path.name for path in folder.iterdir()) == sorted(kept)


def test_a_checkpoint_is_on_the_disk_before_an_old_one_goes(
    job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file and folder of it is synced, then it is renamed, then the folder that holds it is synced."""
    events: list[tuple[str, str]] = []
    fsync, replace_, rmtree = os.fsync, os.replace, shutil.rmtree

    def synced(descriptor: int) -> None:
        events.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        events.append(("rename", str(target)))
        inside = list(Path(source).rglob("*")) if Path(source).is_dir() else []
        missing = {str(path) for path in (*inside, source)} - {
            path for kind, path in events if kind == "sync"
        }
        assert not missing
        replace_(source, target)

    def removed(path: Path, **options: bool) -> None:
        if Path(path).exists():
            events.append(("remove", str(path)))
        rmtree(path, **options)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    monkeypatch.setattr(shutil, "rmtree", removed)
    made = job("tiny-image", "steps=2", "checkpoints.every=1", "checkpoints.keep=1")
    train(made, CPU, silent)
    folder = made.output / "checkpoints"
    assert ("sync", str(made.output)) in events  # which holds the name of `checkpoints`
    end = events.index(("rename", str(folder / "step-00000002")))
    assert events[end + 1 :] == [("sync", str(folder)), ("remove", str(folder / ".step-00000001.old"))]
    assert ("remove", str(folder / ".step-00000001.old")) not in events[:end]


def test_checkpoints_hold_nothing_that_can_run_and_old_ones_go(job: MakeJob) -> None:
    made = job("tiny-image", "checkpoints.every=1", "checkpoints.keep=2")
    train(made, CPU, silent)
    assert [path.name for path in checkpoints(made.output)] == ["step-00000003", "step-00000004"]
    files = [path for path in (made.output / "checkpoints").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json"}


def test_a_run_is_not_overwritten(job: MakeJob) -> None:
    made = job("tiny-image", "steps=1")
    train(made, CPU, silent)
    with pytest.raises(UserError, match="--resume goes on from there"):
        train(made, CPU, silent)


def test_resume_tells_what_changed(job: MakeJob) -> None:
    made = job("tiny-image", "steps=2")
    train(made, CPU, silent)
    said: list[str] = []
    longer = made.config.model_copy(update={"steps": 3})
    outcome = train(replace(made, config=longer, resume=True), CPU, said.append)
    assert outcome.steps == 3
    assert "changed since the checkpoint: steps: 2 -> 3" in said
    assert list(losses(made.output)) == [1, 2, 3]


def test_another_stage_cannot_resume(job: MakeJob) -> None:
    made = job("tiny-image", "steps=1")
    train(made, CPU, silent)
    with pytest.raises(UserError, match="begin the stage with --init"):
        train(replace(job("tiny-video"), resume=True), CPU, silent)
