"""Gradients of one step."""

from __future__ import annotations

from dataclasses import replace

from tests.trainer.train.runs import MakeJob


def test_a_frozen_reference_net_has_no_gradients(job: MakeJob) -> None:
    from tests.trainer.train.runs import gradients

    found = gradients(replace(job("tiny-video"), output=job("tiny-video").output / "g"))
    assert found and all(".motion_modules." in name for name in found)
