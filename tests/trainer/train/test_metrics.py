"""Metrics that a run writes while it trains."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.trainer.train.runs import CPU, MakeJob, silent
from trainer.train.loop import train


def board(run: Path) -> dict[str, dict[int, float]]:
    """TensorBoard's scalars: tag -> step -> value, as its own reader gives them."""
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def test_tensorboard_and_the_log_tell_the_same(job: MakeJob) -> None:
    see = ("validation.every=2", "validation.samples=2", "validation.videos=0", "peak_tflops=0.1")
    made = job("tiny-joint", "data.drivers={original: 1, swapped: 1, styled: 0}", *see)
    train(made, CPU, silent)
    scalars = board(made.output)
    lines = [json.loads(line) for line in (made.output / "log.jsonl").read_text().splitlines()]
    logged = {(tag, line["step"]): value for line in lines for tag, value in line.items() if tag != "step"}
    shown = {(tag, step): value for tag, steps in scalars.items() for step, value in steps.items()}
    assert shown.keys() == logged.keys()
    assert all(shown[key] == pytest.approx(value, rel=1e-6) for key, value in logged.items())

    every_step = {"loss", "grad_norm", "learning_rate", "memory/peak_gb"} | {
        f"speed/{name}" for name in ("clips_per_s", "step_s", "data_wait_share", "tflops", "mfu")
    }
    assert all(list(scalars[tag]) == [1, 2, 3, 4] for tag in every_step)
    assert list(scalars["validation/loss"]) == [2, 4]
    assert {tag for tag in scalars if tag.startswith("loss_driver/")} == {
        "loss_driver/original",
        "loss_driver/swapped",
    }
    assert any(tag.startswith("loss_timestep/") for tag in scalars)


def test_a_resumed_run_has_every_step_once(job: MakeJob) -> None:
    made = job("tiny-image", "steps=2")
    train(made, CPU, silent)
    (made.output / "log.jsonl").open("a").write(
        '{"step": 3, "loss": 99.0}\n{"step": 4, "lo'
    )  # as after a kill
    longer = made.config.model_copy(update={"steps": 4})
    train(replace(made, config=longer, resume=True), CPU, silent)
    lines = [json.loads(line) for line in (made.output / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert list(board(made.output)["loss"]) == [1, 2, 3, 4]
    assert lines[2]["loss"] != 99.0
