"""Sampling: DDIM with guidance over windows. Shape suffixes as in `trainer.model.layers`."""

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
    """A step of the sampler: its timestep, the guided prediction and the latents after it."""

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
    """Scaled latents (B F C H W) of videos with one frame for each driving frame.

    Args:
        model: the model, in evaluation mode.
        config: steps, schedule, guidance and windows.
        conditions: the other inputs, with the driving frames of the whole video.
        noise_BFCHW: standard normal noise to start from.
        observe: function that is called after each step.
        motion: whether the motion modules run; off for a model of the image stage.
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
    """The denoiser's prediction for a window.

    With guidance the batch is doubled: the first half ignores the reference features, the second uses them. Latents,
    mask, driven features and tokens are the same in both, as in training with reference dropout.
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
    """Classifier-free guidance from the two halves that `predict` returns.

    `rescale` moves the standard deviation of the result towards that of the conditional half, 0 not at all, 1 fully
    (Lin et al. 2024, section 3.4).
    """
    without, with_reference = halves_BFCHW.chunk(2)
    guided = without + scale * (with_reference - without)
    if rescale:
        wanted, got = (t.flatten(1).std(1).view(-1, 1, 1, 1, 1) for t in (with_reference, guided))
        guided = guided * (rescale * wanted / got + 1 - rescale)
    return guided
