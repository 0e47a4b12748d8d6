from dataclasses import replace

import pytest
import torch

from tests.trainer.model.models import SMALL, build, make_inputs
from trainer.model.megactor import STAGE_GROUPS, MegActor


def gradients(model: MegActor, clips: int, **options: bool) -> list[torch.Tensor]:
    noisy, timesteps, conditions = make_inputs(clips)
    model.zero_grad()
    model(noisy, timesteps, conditions, **options).square().mean().backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("clips", [1, 3])
@pytest.mark.parametrize("norms", ["frame", "clip"])
def test_recomputing_activations_gives_the_same_gradients(clips: int, norms: str) -> None:
    model = build(replace(SMALL, norm_statistics=norms))
    for kept, recomputed in zip(
        gradients(model, clips), gradients(model, clips, recompute=True), strict=True
    ):
        torch.testing.assert_close(recomputed, kept, rtol=1e-5, atol=1e-8)


@torch.no_grad()
def test_a_clip_does_not_depend_on_its_batch() -> None:
    model = build()
    noisy, timesteps, conditions = make_inputs(3)
    together = model(noisy, timesteps, conditions)
    for clip in range(3):
        alone = model(
            noisy[clip : clip + 1], timesteps[clip : clip + 1], conditions.map(lambda t, c=clip: t[c : c + 1])
        )
        torch.testing.assert_close(together[clip : clip + 1], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_dropped_sample_equals_one_without_reference_and_leaves_others_alone() -> None:
    model = build()
    noisy, timesteps, conditions = make_inputs(2)
    inputs = torch.cat([noisy, model.fixed_channels(conditions)], dim=2)
    features = model.reference_features(conditions.reference_mean_BCHW, timesteps, conditions.tokens_BTD)
    without = model.unet(inputs, timesteps, conditions.tokens_BTD)
    reading = model.unet(inputs, timesteps, conditions.tokens_BTD, features)
    mixed = model.unet(inputs, timesteps, conditions.tokens_BTD, features, torch.tensor([True, False]))
    assert (without - reading).abs().max() > 1e-3
    torch.testing.assert_close(mixed[0], without[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mixed[1], reading[1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_frames_are_independent_without_motion_modules_and_not_with_them() -> None:
    model = build()
    noisy, timesteps, conditions = make_inputs(1)
    changed = noisy.clone()
    changed[:, 1] += 1
    for motion, moved in ((False, False), (True, True)):
        difference = model(changed, timesteps, conditions, motion=motion) - model(
            noisy, timesteps, conditions, motion=motion
        )
        assert (difference[:, 0].abs().max() > 1e-4) == moved


@torch.no_grad()
def test_norms_over_a_clip_mix_its_frames() -> None:
    noisy, timesteps, conditions = make_inputs(1)
    changed = noisy.clone()
    changed[:, 1] *= 5
    model = build(replace(SMALL, norm_statistics="clip"))
    difference = model(changed, timesteps, conditions, motion=False) - model(
        noisy, timesteps, conditions, motion=False
    )
    assert difference[:, 0].abs().max() > 1e-4


@torch.no_grad()
def test_channels_last_and_bfloat16_compute_the_same() -> None:
    model = build(replace(SMALL, norm_statistics="clip"))
    noisy, timesteps, conditions = make_inputs(2)
    plain = model(noisy, timesteps, conditions)
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(model(noisy, timesteps, conditions), plain, rtol=1e-3, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(noisy, timesteps, conditions)
    assert (half.float() - plain).abs().mean() < 0.05 * plain.abs().mean()


@torch.no_grad()
def test_odd_sizes_work() -> None:
    noisy, timesteps, conditions = make_inputs(1, frames=2, size=7)
    assert build()(noisy, timesteps, conditions).shape == noisy.shape


def test_every_parameter_is_trained_by_the_joint_stage_and_each_stage_only_by_its_groups() -> None:
    model = build()
    groups = model.parameter_groups()
    names = [name for group in groups.values() for name in group]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    for stage, trained in STAGE_GROUPS.items():
        model.train_stage(stage)
        noisy, timesteps, conditions = make_inputs(1)
        model.zero_grad()
        model(noisy, timesteps, conditions, motion=stage != "image").square().mean().backward()
        for group, parameters in groups.items():
            assert all((p.grad is not None) == (group in trained) for p in parameters.values()), (
                stage,
                group,
            )


def test_regions_compile_to_whole_graphs_with_the_same_result() -> None:
    model = build(replace(SMALL, layers_per_block=1))
    noisy, timesteps, conditions = make_inputs(1)
    dropped = torch.tensor([True])
    plain = model(noisy, timesteps, conditions, dropped)
    # The test is about graph capture; code generation would only take minutes.
    model.compile_regions(backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        compiled = model(noisy, timesteps, conditions, dropped)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_fresh_model_ignores_all_but_the_noisy_latent_in_its_input() -> None:
    model = MegActor(SMALL)
    noisy, timesteps, conditions = make_inputs(1)
    other = make_inputs(1, seed=1)[2]
    swapped = replace(conditions, driving_BF3HW=other.driving_BF3HW, background_B1HW=other.background_B1HW)
    torch.testing.assert_close(model(noisy, timesteps, conditions), model(noisy, timesteps, swapped))
