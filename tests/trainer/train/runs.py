"""Runs in processes of their own; importable there, unlike a test's local functions."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from trainer.diffusion.schedule import TrainingSchedule
from trainer.train.build import build
from trainer.train.inputs import draws_of, prepare
from trainer.train.job import Job
from trainer.train.loop import train
from trainer.train.ranks import Ranks
from trainer.train.step import accumulate_gradients


def silent(text: str) -> None:
    """Say nothing."""


def train_alone(job: Job) -> None:
    """A run without other ranks."""
    torch.set_num_threads(1)
    train(job, Ranks.current("cpu"), silent)


def gradients(job: Job) -> dict[str, torch.Tensor]:
    """The gradients of the first step, averaged over ranks."""
    ranks = Ranks.current("cpu")
    parts = build(job, ranks, silent)
    train_state, config = parts.train_state, job.config

    def inputs():
        for batch in parts.loader:
            draws = draws_of(batch, train_state.architecture.diffusion, 6, seed=config.seed, step=0)
            yield prepare(batch, draws, parts.frozen, ranks.device)

    schedule = TrainingSchedule(train_state.architecture.diffusion)
    accumulate_gradients(train_state.forward, schedule, inputs(), config.accumulate(ranks.size), config)
    return {name: p.grad.clone() for name, p in train_state.trained.items() if p.grad is not None}


def on_rank(rank: int, ranks: int, folder: Path, first: Job, other: Job) -> None:
    """One of several ranks: the gradients of the first job, then the whole of the other."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=ranks)
    try:
        found = gradients(first)
        said: list[str] = []
        train(other, Ranks.current("cpu"), said.append)
        if rank == 0:
            save_file(found, folder / "gradients.safetensors")
            (folder / "said.txt").write_text("\n".join(said), encoding="utf-8")
    finally:
        dist.destroy_process_group()
