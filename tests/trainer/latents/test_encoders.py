"""Encoding gives the latents of the model."""

from __future__ import annotations

import torch

from datagen.output.paths import Output
from tests.trainer.latents.made import batches
from trainer.latents.encoders import Encoders, complete, mean_latents, sample_latents
from trainer.model.config import TINY
from trainer.model.vae import build_vae


def test_latents_equal_those_of_the_model(short_copy: Output, encoders: Encoders) -> None:
    torch.manual_seed(0)
    vae = build_vae(TINY.vae).eval()
    (batch,) = batches(short_copy, 1)
    made = complete(batch, encoders)
    assert batch.target_BF3HW is not None and made.target_moments_BFChw is not None
    images = batch.target_BF3HW[0].float() / 127.5 - 1
    noise = torch.randn(4, 4, 8, 8)
    scale = TINY.vae.scaling_factor
    mean = mean_latents(made.target_moments_BFChw[0], scale)
    drawn = sample_latents(made.target_moments_BFChw[0], noise, scale)
    with torch.no_grad():
        posterior = vae.encode(images).latent_dist
    torch.testing.assert_close(mean, posterior.mean * scale, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(drawn, (posterior.mean + posterior.std * noise) * scale, rtol=1e-4, atol=1e-4)
    assert made.tokens_BTD is not None and made.tokens_BTD.shape == (2, 17, 48)
