"""Content of checkpoints, and when they count as written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from datagen.common.errors import UserError
from datagen.common.staging import staging_of
from tests.trainer.train.runs import CPU, MakeJob, owner_of, silent
from trainer.train.loop import train
from trainer.train.state.checkpoint import checkpoints, clear_leftovers


def test_resume_removes_what_killed_saves_left_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    stale = [f".step-00000003~{owner_of(2**22 + 1)}.tmp", ".step-00000001.old", ".step-00000009.77.tmp"]
    kept = [staging_of(folder / "step-00000004").name, "step-00000002", "notes.tmp"]
    for name in (*stale, *kept):
        (folder / name / "model").mkdir(parents=True)
    assert sorted(clear_leftovers(tmp_path)) == sorted(stale)
    assert sorted(path.name for path in folder.iterdir()) == sorted(kept)


def test_a_checkpoint_is_synced_before_an_old_one_is_removed(
    job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files and folders are synced, then it is renamed, then the folder above is synced."""
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
    assert ("sync", str(made.output)) in events  # the folder above `checkpoints`
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
