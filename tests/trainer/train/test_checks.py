"""Checks before the first step."""

from __future__ import annotations

import pytest

from datagen.common.errors import UserError
from tests.trainer.train.runs import CPU, MakeJob, silent
from trainer.train.loop import train


def test_clips_too_small_for_the_model_are_refused(job: MakeJob) -> None:
    made = job("tiny-image", "model.model.reference_size=512")
    with pytest.raises(UserError, match="128 pixels, but the model takes 512"):
        train(made, CPU, silent)


def test_compiling_without_a_compiler_is_refused_before_the_first_step(
    job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match="compile=false"):
        train(job("tiny-image", "compile=true"), CPU, silent)
