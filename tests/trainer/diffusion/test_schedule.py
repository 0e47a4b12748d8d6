"""Noise schedules and loss weights."""

from dataclasses import replace

import pytest
import torch

from trainer.diffusion.schedule import TrainingSchedule, build_scheduler
from trainer.model.config import DEFAULT, PUBLISHED_DIFFUSION, ScheduleConfig


def test_the_default_preset_ends_in_pure_noise_and_starts_sampling_there() -> None:
    schedule = TrainingSchedule(DEFAULT.diffusion)
    latents, noise = torch.randn(1, 1, 4, 2, 2), torch.randn(1, 1, 4, 2, 2)
    last = torch.tensor([999])
    assert torch.equal(schedule.add_noise(latents, noise, last), noise)
    assert torch.equal(schedule.target(latents, noise, last), -latents)
    scheduler = build_scheduler(DEFAULT.diffusion.sample_schedule, "v_prediction")
    scheduler.set_timesteps(25)
    assert scheduler.timesteps[0] == 999


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_min_snr_weights(prediction: str) -> None:
    train = ScheduleConfig(zero_terminal_snr=True)
    config = replace(PUBLISHED_DIFFUSION, prediction=prediction, train_schedule=train, min_snr_gamma=5.0)
    schedule = TrainingSchedule(config)
    timesteps = torch.tensor([0, 300, 999])
    snr = schedule.alphas_cumprod[timesteps] / (1 - schedule.alphas_cumprod[timesteps])
    weights = schedule.weights(timesteps)
    assert weights.isfinite().all()
    if prediction == "epsilon":
        torch.testing.assert_close(weights[:2], snr[:2].clamp(max=5) / snr[:2])
        assert weights[2] == 1
    else:
        torch.testing.assert_close(weights, snr.clamp(max=5) / (snr + 1))
