"""Videos from a model. Shape suffixes as in `trainer.model.layers`."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.diffusion.sampler import sample
from trainer.latents.frozen import FrozenNetworks
from trainer.model.config import DiffusionConfig
from trainer.model.megactor import Conditions, MegActor
from trainer.model.precision import Precision, autocast


def generate(
    model: MegActor,
    diffusion: DiffusionConfig,
    conditions: Conditions,
    noise_BFCHW: Tensor,
    frozen: FrozenNetworks,
    *,
    motion: bool,
    precision: Precision,
) -> Tensor:
    """Sample videos (B F 3 H W) in [0, 1].

    Args:
        model: the model, in evaluation mode.
        diffusion: steps and guidance of the sampler.
        conditions: reference, driving frames and background of each video.
        noise_BFCHW: the latents that sampling starts from.
        frozen: networks, with a decoder.
        motion: whether the motion modules run.
        precision: precision of the model; the decoder runs in float32.
    """
    assert frozen.decode is not None
    with torch.no_grad(), autocast(precision, noise_BFCHW.device):
        latents_BFCHW = sample(model, diffusion, conditions, noise_BFCHW, motion=motion)
    images = frozen.decode(latents_BFCHW.float().flatten(0, 1))
    return images.unflatten(0, latents_BFCHW.shape[:2])
