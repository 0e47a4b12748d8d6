"""What each stage trains and leaves unchanged; options of the loop."""

from __future__ import annotations

from functools import partialmethod
from pathlib import Path

import pytest
import torch

from datagen.common.errors import UserError
from tests.trainer.train.runs import CPU, MakeJob, losses, silent
from trainer.checkpoints.folder import load_info, load_model
from trainer.checkpoints.tensor_files import read_tensors
from trainer.model.megactor import STAGE_GROUPS, Group, MegActor
from trainer.train.loop import train
from trainer.train.state.checkpoint import usable_weights


def changed_groups(before: Path, after: Path) -> set[Group]:
    one, other = (load_model(usable_weights(path)).parameter_groups() for path in (before, after))
    return {
        group
        for group, parameters in one.items()
        if any(not torch.equal(p, other[group][name]) for name, p in parameters.items())
    }


def test_stages_follow_each_other_and_train_their_groups_alone(job: MakeJob) -> None:
    start = job("tiny-image", "steps=1", "optimiser.learning_rate=1.0e-12", run="start")
    train(start, CPU, silent)
    image = job("tiny-image", "steps=2", run="image", init=start.output)
    train(image, CPU, silent)
    video = job("tiny-video", "steps=2", run="video", init=image.output)
    outcome = train(video, CPU, silent)

    assert changed_groups(start.output, image.output) == set(STAGE_GROUPS["image"])
    assert changed_groups(image.output, video.output) == {"motion_modules"}
    assert load_info(usable_weights(video.output)).origins["motion_modules"] == "initialised, trained"
    moments = read_tensors(outcome.checkpoint / "optimiser.safetensors")
    assert moments and all(".motion_modules." in name for name in moments)


def test_recomputing_bf16_and_compiling_train_too(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = job("tiny-joint", "steps=2", run="plain")
    recomputed = job("tiny-joint", "steps=2", "recompute=true", run="recomputed")
    rough = job("tiny-joint", "steps=2", "precision=bf16", run="rough")
    for made in (plain, recomputed, rough):
        train(made, CPU, silent)
    assert losses(recomputed.output) == pytest.approx(losses(plain.output), rel=1e-5)
    assert losses(rough.output) == pytest.approx(losses(plain.output), rel=0.1)
    # Graphs and gradients are those of a compiled run; only generating C++ code, which takes minutes, is left out.
    regions = partialmethod(MegActor.compile_regions, backend="aot_eager")
    monkeypatch.setattr(MegActor, "compile_regions", regions)
    compiled = job("tiny-joint", "steps=2", "compile=true", run="compiled")
    train(compiled, CPU, silent)
    assert losses(compiled.output) == pytest.approx(losses(plain.output), rel=1e-5)


def test_a_loss_that_is_not_finite_stops_the_run_with_its_batch(job: MakeJob) -> None:
    made = job("tiny-image", "optimiser.learning_rate=1.0e+30", "optimiser.warmup_steps=0", "ema=null")
    with pytest.raises(UserError, match="the step was not taken"):
        train(made, CPU, silent)
    (evidence,) = made.output.glob("not-finite-*.safetensors")
    assert {"latents", "noise_BFCHW", "driving_BF3HW", "timesteps_B"} <= read_tensors(evidence).keys()
