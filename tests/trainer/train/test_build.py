"""What a run is built from."""

from __future__ import annotations

import pytest

from datagen.common.errors import UserError
from tests.trainer.train.runs import CPU, MakeJob, silent
from trainer.train.loop import train


def test_weights_of_another_size_are_refused(job: MakeJob) -> None:
    start = job("tiny-image", "steps=1", run="start")
    train(start, CPU, silent)
    wider = job("tiny-image", "model.model.block_out_channels=[32, 32]", run="wider", init=start.output)
    with pytest.raises(UserError, match="does not fit the model"):
        train(wider, CPU, silent)
