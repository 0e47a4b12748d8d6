"""A resumed run equals an uninterrupted one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from datagen.common.errors import UserError
from tests.trainer.train.runs import CPU, MakeJob, losses, make_job, owner_of, silent, train_alone
from trainer.checkpoints.tensor_files import read_tensors
from trainer.train.loop import train
from trainer.train.state.checkpoint import checkpoints


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


@pytest.fixture(scope="module")
def whole(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted joint run of four steps."""
    made = make_job(footage, tmp_path_factory.mktemp("whole") / "run", "tiny-joint")
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
    torch.rand(3)  # other use of the generators in between
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
    left.mkdir()  # as after a kill during saving
    train(replace(made, resume=True), CPU, silent)
    assert_same_run(whole, made.output)
    assert not left.exists()


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
