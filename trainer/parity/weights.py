"""Draws every weight of the parity models from its name."""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from torch import nn


def draw_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 value of the parameter `name` (component prefix and state-dict key)."""
    normal = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("bias"):
        value = 0.1 * normal
    elif len(shape) <= 1:
        value = 1 + 0.1 * normal
    else:
        value = normal * _gain(name) / math.sqrt(math.prod(shape[1:]))
    return value.astype(np.float32)


def _gain(name: str) -> float:
    if ".condition_input_layer." not in name:
        return 1.0
    return 0.15 if ".spatial_conv_out." in name else 1.7


@torch.no_grad()
def fill(module: nn.Module, prefix: str = "") -> nn.Module:
    """`module` with every parameter drawn from its name, in evaluation mode; buffers are not changed."""
    for name, parameter in module.named_parameters(prefix):
        parameter.copy_(torch.from_numpy(draw_weight(name, tuple(parameter.shape))))
    return module.eval()
