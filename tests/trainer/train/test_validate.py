"""Validation does not change training."""

from __future__ import annotations

import json

import torch

from datagen.media import probe
from tests.trainer.train.runs import CPU, MakeJob, losses, silent
from trainer.train.build import build
from trainer.train.loop import train
from trainer.train.state import rng

SEE = ("validation.every=1", "validation.samples=2", "validation.videos=1")


def test_losses_are_the_same_with_and_without_validation(job: MakeJob) -> None:
    blind, seeing = job("tiny-image", run="blind"), job("tiny-image", *SEE, run="seeing")
    train(blind, CPU, silent)
    train(seeing, CPU, silent)
    assert losses(blind.output) == losses(seeing.output)


def test_validation_restores_weights_mode_and_generators(job: MakeJob) -> None:
    parts = build(job("tiny-joint", *SEE), CPU, silent)
    train_state = parts.train_state
    train_state.model.unet.mid_block.eval()  # validation must restore this mode
    state = {name: tensor.clone() for name, tensor in train_state.model.state_dict().items()}
    modes = [module.training for module in train_state.model.modules()]
    train_state.ema.averages = {name: 1.01 * average for name, average in train_state.ema.averages.items()}
    before = rng.capture(CPU.device)
    first = parts.validator.run(train_state)
    after = rng.capture(CPU.device)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert modes == [module.training for module in train_state.model.modules()]
    assert all(torch.equal(state[name], tensor) for name, tensor in train_state.model.state_dict().items())
    assert first == parts.validator.run(train_state)  # the same samples and noise every time


def test_sample_videos_show_reference_driver_and_result(job: MakeJob) -> None:
    made = job("tiny-video", "steps=1", *SEE, "validation.video_frames=4")
    train(made, CPU, silent)
    (video,) = (made.output / "samples").glob("step-00000001-*.mp4")
    info = probe(video)
    assert (info.width, info.height, info.frames) == (384, 128, 4)
    lines = [json.loads(line) for line in (made.output / "log.jsonl").read_text().splitlines()]
    values = {name for line in lines for name in line}
    assert {"validation/loss", "loss", "grad_norm", "speed/clips_per_s", "speed/data_wait_share"} <= values
    assert any(name.startswith("loss_timestep/") for name in values)
    assert any(name.startswith("loss_driver/") for name in values)
    assert list((made.output / "tensorboard").iterdir())
