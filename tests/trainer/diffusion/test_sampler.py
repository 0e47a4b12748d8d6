from dataclasses import replace

import pytest
import torch

from tests.trainer.model.models import build, make_inputs
from trainer.diffusion.sampler import guide, sample
from trainer.model.config import DEFAULT, PUBLISHED_DIFFUSION

PRESETS = {"published": PUBLISHED_DIFFUSION, "default": DEFAULT.diffusion}


def test_guidance_rescale_keeps_the_conditional_deviation() -> None:
    halves = torch.randn(4, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(guide(halves, 1.0, 0.0), halves[2:])
    rescaled = guide(halves, 6.0, 1.0)
    torch.testing.assert_close(rescaled.flatten(1).std(1), halves[2:].flatten(1).std(1))


@pytest.mark.parametrize("preset", PRESETS)
def test_sampling_long_videos_is_finite_and_repeatable(preset: str) -> None:
    config = replace(
        PRESETS[preset], sample_steps=2, windows=replace(PRESETS[preset].windows, frames=4, overlap=2)
    )
    noise, _, conditions = make_inputs(1, frames=7)
    model = build().eval()
    steps = []
    video = sample(model, config, conditions, noise, steps.append)
    assert video.shape == noise.shape and video.isfinite().all()
    assert [step.timestep for step in steps] == ([501, 1] if preset == "published" else [999, 499])
    assert torch.equal(video, sample(model, config, conditions, noise))


def test_the_unguided_half_is_the_state_that_dropout_trains() -> None:
    """Guidance scale s gives u + s (c - u); with the conditional half alone known, u is recovered and compared."""
    noise, _, conditions = make_inputs(1)
    model = build().eval()
    config = replace(DEFAULT.diffusion, sample_steps=1)
    results = {}
    for scale in (1.0, 3.0):
        steps = []
        sample(model, replace(config, guidance_scale=scale), conditions, noise, steps.append)
        results[scale] = steps[0].prediction_BFCHW
    without = (3 * results[1.0] - results[3.0]) / 2
    with torch.no_grad():
        dropped = model(noise, torch.tensor([999]), conditions, torch.tensor([True]))
    torch.testing.assert_close(without, dropped, rtol=1e-3, atol=1e-4)
