"""Computes moments and tokens of a batch that holds pixels; they equal those that `precompute` stores.

Shapes: N images, B samples, F frames, C = 2 x latent channels, h w latent size, S side of CLIP's image, T tokens,
D token width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainer.data.batch import Batch

# CLIP's normalisation of RGB in 0..1
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Encoders:
    """The frozen networks as callables.

    They run on batches of one fixed size, short ones padded, so that the result for an image does not depend on the
    other images in its batch: `precompute` and training agree bit for bit where they use the same `batch`.

    Attributes:
        moments: (N, 3, H, W) float32 in [-1, 1] to (N, C, h, w), mean and log variance of the posterior.
        tokens: (N, 3, S, S) normalised float32 to (N, T, D).
        device: the device of the networks.
        batch: images at a time.
        vae, clip: hashes of the networks, empty where they do not matter.
    """

    moments: Network
    tokens: Network
    device: torch.device | str = "cpu"
    batch: int = 8
    vae: str = ""
    clip: str = ""

    @torch.no_grad()
    def image_moments(self, images_N3HW: Tensor) -> Tensor:
        """Moments (N, C, h, w) float32 of uint8 images."""
        return self._chunked(self.moments, images_N3HW, lambda x: x.float() / 127.5 - 1)

    @torch.no_grad()
    def image_tokens(self, images_N3SS: Tensor) -> Tensor:
        """Tokens (N, T, D) float32 of uint8 images from `trainer.data.pixels.clip_image`."""
        mean, std = (torch.tensor(v, device=self.device).view(3, 1, 1) for v in (_MEAN, _STD))
        return self._chunked(self.tokens, images_N3SS, lambda x: (x.float() / 255 - mean) / std)

    def _chunked(self, network: Network, images: Tensor, scale: Network) -> Tensor:
        results = []
        for chunk in images.split(self.batch):
            chunk = chunk.to(self.device)
            filled = torch.cat([chunk, chunk[-1:].expand(self.batch - len(chunk), -1, -1, -1)])
            results.append(network(scale(filled).contiguous())[: len(chunk)].float())
        return torch.cat(results).contiguous()


def complete(batch: Batch, encoders: Encoders) -> Batch:
    """The batch with moments and tokens; those that were precomputed are kept."""
    moments, tokens = batch.target_moments_BFChw, batch.tokens_BTD
    reference_moments = batch.reference_moments_BChw
    if moments is None:
        assert batch.target_BF3HW is not None
        size, frames = batch.target_BF3HW.shape[:2]
        images = torch.cat([batch.target_BF3HW.flatten(0, 1), batch.reference_B3HW])
        encoded = encoders.image_moments(images)
        moments, reference_moments = (
            encoded[: size * frames].unflatten(0, (size, frames)),
            encoded[size * frames :],
        )
    if tokens is None:
        assert batch.clip_image_B3SS is not None
        tokens = encoders.image_tokens(batch.clip_image_B3SS)
    return replace(
        batch, target_moments_BFChw=moments, reference_moments_BChw=reference_moments, tokens_BTD=tokens
    )


def mean_latents(moments: Tensor, scaling_factor: float) -> Tensor:
    """Scaled posterior mean of moments (..., C, h, w)."""
    return moments.float().chunk(2, dim=-3)[0] * scaling_factor


def sample_latents(moments: Tensor, noise: Tensor, scaling_factor: float) -> Tensor:
    """Scaled posterior sample of moments (..., C, h, w), made with standard normal noise (..., C / 2, h, w)."""
    mean, log_variance = moments.float().chunk(2, dim=-3)
    return (mean + torch.exp(0.5 * log_variance.clamp(-30.0, 20.0)) * noise) * scaling_factor
