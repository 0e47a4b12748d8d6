"""Training on several ranks equals training on one."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.trainer.train.runs import CPU, MakeJob, gradients, losses, on_rank, silent
from trainer.train.job import Job
from trainer.train.loop import train
from trainer.train.state.checkpoint import checkpoints


def on_two_ranks(folder: Path, first: Job, other: Job) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=on_rank, args=(rank, 2, folder, first, other)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]


def test_two_workers_train_as_one_does(job: MakeJob, tmp_path: Path) -> None:
    whole = job("tiny-image", run="whole")
    train(whole, CPU, silent)
    grown = job("tiny-image", "steps=2", run="grown")
    train(grown, CPU, silent)
    grown = replace(grown, config=grown.config.model_copy(update={"steps": 4}), resume=True)
    on_two_ranks(tmp_path, job("tiny-joint", "batch=2", run="two"), grown)

    # The gradient of two ranks with one sample each is that of one rank with both.
    shared = load_file(tmp_path / "gradients.safetensors")
    together = gradients(job("tiny-joint", "batch=2", "micro_batch=2", run="together"))
    accumulated = gradients(job("tiny-joint", "batch=2", "micro_batch=1", run="accumulated"))
    assert shared.keys() == together.keys() == accumulated.keys()
    for other in (shared, accumulated):
        error = torch.stack([(other[name] - together[name]).norm() for name in together]).norm()
        assert error / torch.stack([g.norm() for g in together.values()]).norm() < 1e-6

    # Resumed on two ranks, a run of one rank keeps the order of samples, and reports it.
    assert "the checkpoint was made on 1 ranks, this run has 2" in (tmp_path / "said.txt").read_text()
    state = json.loads((checkpoints(grown.output)[-1] / "state.json").read_text())
    assert state["data"]["position"] == 8 and state["ranks"] == 2
    alone, later = losses(whole.output), losses(grown.output)
    assert list(later) == [1, 2, 3, 4]
    assert all(abs(alone[step] - later[step]) < 1e-4 for step in alone)
