"""The number format of forward passes; weights stay float32."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Context for a forward pass in a precision; `fp32` turns automatic casting off."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
