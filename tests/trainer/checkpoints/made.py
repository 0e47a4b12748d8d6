"""Small sizes and random tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.model.config import ImageEncoderConfig, MegActorConfig, ModelConfig, VAEConfig

SIZES = ModelConfig(block_out_channels=(32, 32, 64, 64), cross_attention_dim=24)
VAE = VAEConfig(block_out_channels=(32, 32), layers_per_block=1, sample_size=16)
CONFIG = MegActorConfig(SIZES, VAE, ImageEncoderConfig(64, 128, 3, 4, projection_dim=24))


def filled(shapes: dict[str, tuple[int, ...]], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Random tensors, different for every name."""
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        first[n].dtype == second[n].dtype and torch.equal(first[n], second[n]) for n in first
    )
