"""Sampling: DDIM with guidance over windows. Legend for suffixes as in `trainer.model.layers`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.diffusion.schedule import build_scheduler
from trainer.diffusion.windows import blend_weights, cover
from trainer.model.config import DiffusionConfig
from trainer.model.megactor import Conditions, MegActor
from trainer.model.reference_net import ReferenceFeatures


@dataclass(frozen=True)
class Step:
    """What a step of the sampler did; given to its observer."""

    timestep: int
    prediction_BFCHW: Tensor
    latents_BFCHW: Tensor


@torch.no_grad()
def sample(
    model: MegActor,
    config: DiffusionConfig,
    conditions: Conditions,
    noise_BFCHW: Tensor,
    observe: Callable[[Step], None] = lambda step: None,
    *,
    motion: bool = True,
) -> Tensor:
    """Scaled latents of a video, as long as its driving frames.

    Args:
        model: the model, in evaluation mode.
        config: steps, schedule, guidance and windows.
        conditions: the video's inputs, all driving frames at once.
        noise_BFCHW: where to start from: unit normal noise.
        observe: called after each step.
        motion: whether the motion modules act; off for a model of the image stage.
    """
    frames = noise_BFCHW.shape[1]
    guided = config.guidance_scale > 1
    windows = cover(frames, config.windows)
    weights = blend_weights(windows, frames, config.windows, guided).to(noise_BFCHW)
    scheduler = build_scheduler(config.sample_schedule, config.prediction)
    scheduler.set_timesteps(config.sample_steps)

    fixed_BFCHW = model.fixed_channels(conditions)
    tokens_BTD = conditions.tokens_BTD
    latents = noise_BFCHW
    features = None
    for timestep in scheduler.timesteps.tolist():
        timesteps_B = torch.full((len(latents),), timestep, device=latents.device)
        if features is None or model.config.reference_timestep is None:
            features = model.reference_features(conditions.reference_mean_BCHW, timesteps_B, tokens_BTD)
        prediction = torch.zeros_like(latents)
        for window, weight in zip(windows, weights, strict=True):
            inputs = torch.cat([latents[:, window], fixed_BFCHW[:, window]], dim=2)
            part = predict(model, inputs, timesteps_B, tokens_BTD, features, guided, motion=motion)
            if guided:
                part = guide(part, config.guidance_scale, config.guidance_rescale)
            prediction[:, window] += weight[window][:, None, None, None] * part
        latents = scheduler.step(prediction, timestep, latents, return_dict=False)[0]
        observe(Step(timestep, prediction, latents))
    return latents


def predict(
    model: MegActor,
    inputs_BFCHW: Tensor,
    timesteps_B: Tensor,
    tokens_BTD: Tensor,
    features: ReferenceFeatures,
    guided: bool,
    *,
    motion: bool = True,
) -> Tensor:
    """The denoiser's prediction for a window; with guidance, first a half that reads no reference, then one that does.

    Both halves keep latents, mask, driven features and tokens: the state that reference dropout trains.
    """
    if not guided:
        return model.unet(inputs_BFCHW, timesteps_B, tokens_BTD, features, motion=motion)
    clips = len(inputs_BFCHW)
    dropped_B = torch.arange(2 * clips, device=inputs_BFCHW.device) < clips

    def twice(tensor: Tensor) -> Tensor:
        return torch.cat([tensor, tensor])

    return model.unet(
        twice(inputs_BFCHW), twice(timesteps_B), twice(tokens_BTD), features.map(twice), dropped_B, motion
    )


def guide(halves_BFCHW: Tensor, scale: float, rescale: float) -> Tensor:
    """Classifier-free guidance of the two halves `predict` gives.

    `rescale` draws the result's standard deviation towards that of the conditional half (Lin et al. 2024, 3.4), 0 not
    at all, 1 fully.
    """
    without, with_reference = halves_BFCHW.chunk(2)
    guided = without + scale * (with_reference - without)
    if rescale:
        wanted, got = (t.flatten(1).std(1).view(-1, 1, 1, 1, 1) for t in (with_reference, guided))
        guided = guided * (rescale * wanted / got + 1 - rescale)
    return guided
