from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.model.models import SMALL, build, make_inputs
from trainer.diffusion.draws import draw
from trainer.diffusion.loss import training_loss
from trainer.diffusion.sampler import guide, sample
from trainer.diffusion.schedule import TrainingSchedule, build_scheduler
from trainer.diffusion.windows import blend_weights, cover
from trainer.model.config import DEFAULT, PUBLISHED_DIFFUSION, DiffusionConfig, ScheduleConfig, WindowConfig

PRESETS = {"published": PUBLISHED_DIFFUSION, "default": DEFAULT.diffusion}


def test_draws_belong_to_slots_not_to_workers() -> None:
    config = replace(DEFAULT.diffusion, noise_offset=0.1)
    together = draw(config, (2, 4, 3, 3), seed=7, step=5, slots=[0, 1, 2])
    apart = draw(config, (2, 4, 3, 3), seed=7, step=5, slots=[2])
    for name, values in vars(apart).items():
        assert torch.equal(getattr(together, name)[2:], values)
    other_step = draw(config, (2, 4, 3, 3), seed=7, step=6, slots=[2])
    assert not torch.equal(apart.noise_BFCHW, other_step.noise_BFCHW)
    assert not torch.equal(together.noise_BFCHW[0], together.noise_BFCHW[1])


def test_draws_have_the_stated_distribution() -> None:
    config = replace(DEFAULT.diffusion, reference_dropout=0.25)
    draws = draw(config, (1, 4, 2, 2), seed=0, step=0, slots=range(2000))
    assert draws.dropped_B.float().mean() == pytest.approx(0.25, abs=0.03)
    assert draws.timesteps_B.float().mean() == pytest.approx(499.5, abs=25)
    assert draws.timesteps_B.min() >= 0 and draws.timesteps_B.max() <= 999
    assert draws.noise_BFCHW.std() == pytest.approx(1, abs=0.03)


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


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 80),
    size=st.integers(1, 20),
    overlap=st.integers(0, 19),
    closed=st.booleans(),
    guided=st.booleans(),
)
def test_windows_cover_every_frame_with_weights_that_sum_to_one(
    frames: int, size: int, overlap: int, closed: bool, guided: bool
) -> None:
    config = WindowConfig(size, min(overlap, size - 1), closed)
    windows = cover(frames, config)
    assert {frame for window in windows for frame in window} == set(range(frames))
    assert all(len(window) == min(size, frames) for window in windows)
    weights = blend_weights(windows, frames, config, guided)
    torch.testing.assert_close(weights.sum(0), torch.ones(frames))
    if not closed:
        assert windows[-1][-1] == frames - 1
        assert all(window == list(range(window[0], window[-1] + 1)) for window in windows)


def test_the_published_sampler_sums_windows_only_without_guidance() -> None:
    config = WindowConfig(4, 2, closed=True, sum_unguided=True)
    windows = cover(6, config)
    assert blend_weights(windows, 6, config, guided=False).sum(0).max() > 1
    torch.testing.assert_close(blend_weights(windows, 6, config, guided=True).sum(0), torch.ones(6))


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


@pytest.mark.parametrize("stage", ["image", "video", "joint"])
def test_training_lowers_the_loss(stage: str) -> None:
    model = build(replace(SMALL, reference_size=None))
    optimiser = torch.optim.AdamW(model.train_stage(stage), lr=2e-3)
    frames = 1 if stage == "image" else 3
    latents, _, conditions = make_inputs(2, frames=frames)
    schedule = TrainingSchedule(DEFAULT.diffusion)
    losses = []
    for _ in range(4):
        draws = draw(DEFAULT.diffusion, latents.shape[1:], seed=0, step=0, slots=[0, 1])
        loss = training_loss(model, schedule, latents, conditions, draws, motion=stage != "image")
        losses.append(loss.mean.item())
        optimiser.zero_grad()
        loss.mean.backward()
        optimiser.step()
    assert losses[-1] < losses[0]


def test_the_gradient_of_two_workers_is_that_of_one() -> None:
    model = build().double()
    schedule = TrainingSchedule(DEFAULT.diffusion)
    latents, _, conditions = make_inputs(2)

    def gradient(rows: list[int]) -> list[torch.Tensor]:
        draws = draw(DEFAULT.diffusion, latents.shape[1:], seed=3, step=1, slots=rows)
        draws = draws.map(lambda t: t.double() if t.is_floating_point() else t)
        model.zero_grad()
        training_loss(
            model, schedule, latents[rows].double(), conditions.map(lambda t: t[rows].double()), draws
        ).mean.backward()
        return [p.grad.clone() for p in model.parameters()]

    for whole, first, second in zip(gradient([0, 1]), gradient([0]), gradient([1]), strict=True):
        torch.testing.assert_close((first + second) / 2, whole, rtol=1e-5, atol=1e-9)


def test_a_schedule_that_cannot_be_sampled_is_refused() -> None:
    with pytest.raises(ValueError, match="v_prediction"):
        DiffusionConfig(prediction="epsilon")
    with pytest.raises(ValueError, match="overlap is 16"):
        WindowConfig(16, 16)
