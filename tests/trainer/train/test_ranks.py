"""Workers share a batch and change nothing else."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from datagen.errors import UserError
from train.conftest import CPU, losses
from train.runs import gradients, on_rank, silent
from trainer.train.checkpoint import checkpoints
from trainer.train.job import Job
from trainer.train.loop import train

MakeJob = Callable[..., Job]


def on_two_ranks(what: str, job: Job, tmp_path: Path) -> Path:
    result = tmp_path / "result"
    spawn = multiprocessing.get_context("spawn")
    arguments = (2, tmp_path / f"meeting-{what}", what, job, result)
    processes = [spawn.Process(target=on_rank, args=(rank, *arguments)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    return result


def test_two_workers_of_one_sample_have_the_gradient_of_one_with_two(job: MakeJob, tmp_path: Path) -> None:
    shared = load_file(on_two_ranks("gradients", job("tiny-joint", "batch=2", run="two"), tmp_path))
    together = gradients(job("tiny-joint", "batch=2", "micro_batch=2", run="together"))
    accumulated = gradients(job("tiny-joint", "batch=2", "micro_batch=1", run="accumulated"))
    assert shared.keys() == together.keys() == accumulated.keys()
    for other in (shared, accumulated):
        error = torch.stack([(other[name] - together[name]).norm() for name in together]).norm()
        assert error / torch.stack([g.norm() for g in together.values()]).norm() < 1e-6


def test_another_number_of_workers_goes_on_with_the_order_and_says_so(job: MakeJob, tmp_path: Path) -> None:
    whole = job("tiny-image", run="whole")
    train(whole, CPU, silent)
    made = job("tiny-image", "steps=2", run="grown")
    train(made, CPU, silent)
    longer = made.config.model_copy(update={"steps": 4})
    said = on_two_ranks("train", replace(made, config=longer, resume=True), tmp_path).read_text()
    assert "the checkpoint was made on 1 ranks, this run has 2" in said
    state = json.loads((checkpoints(made.output)[-1] / "state.json").read_text())
    assert state["data"]["position"] == 8 and state["ranks"] == 2
    alone, grown = losses(whole.output), losses(made.output)
    assert list(grown) == [1, 2, 3, 4]
    assert all(abs(alone[step] - grown[step]) < 1e-4 for step in alone)


def test_a_batch_that_cannot_be_shared_is_refused(job: MakeJob) -> None:
    with pytest.raises(UserError, match="give a multiple of 3"):
        train(job("tiny-image", "batch=3", "micro_batch=1"), replace(CPU, size=2), silent)
