"""Small training runs, in this process or in others, which import this module."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from datagen.common.owner import owner_id
from trainer.data import DataSource
from trainer.diffusion.schedule import TrainingSchedule
from trainer.train.build import build
from trainer.train.inputs import draws_of, prepare
from trainer.train.job import Job, load_config
from trainer.train.loop import train
from trainer.train.ranks import Ranks
from trainer.train.step import accumulate_gradients

MakeJob = Callable[..., Job]

CPU = Ranks(0, 1, torch.device("cpu"))
SMALL = [
    "model.model.block_out_channels=[16, 32]",
    "model.model.latent_channels=6",
    "model.vae.latent_channels=6",
    "steps=4",
    "checkpoints.every=2",
    "validation.every=0",
    "threads=1",
]


def make_job(footage: Path, run: Path, name: str, *assignments: str, **values: Any) -> Job:
    """A small job on footage."""
    config = load_config(name, [*SMALL, *assignments])
    return Job(config, (DataSource(path=str(footage)),), run, **values)


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


def losses(run: Path) -> dict[int, float]:
    """Loss of every step in a run's log."""
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def owner_of(gone: int) -> str:
    """`owner_id` of an ended process of this machine."""
    return owner_id().replace(f"~{os.getpid()}~", f"~{gone}~")
