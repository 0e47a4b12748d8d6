"""Names of tensors in files and in the model.

The parts of the model have the published names:

    published checkpoint              model's state dict          what
    module.unet.*                     unet.*                      Denoiser: the Stable Diffusion 1.5 names, and
        .condition_input_layer.*          the same                    DrivenEncoder
        .*.motion_modules.*               the same                    AnimateDiff v3 (its files drop `module.`)
    module.appearance_encoder.*       appearance_encoder.*        ReferenceNet: Stable Diffusion without its tail
    module.vae.*, .text_encoder.*     (none)                      frozen parts, found in their own files

Only `conv_in.weight` differs in shape from Stable Diffusion: it has 13 input channels instead of 4. `*.pos_encoder.pe`
are buffers with computed positions; they are saved, as in the published file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from trainer.model.config import ModelConfig
from trainer.model.megactor import MegActor

T = TypeVar("T")

COMPONENTS = ("unet", "appearance_encoder")
REFERENCE_TAIL = (
    "conv_norm_out.",
    "conv_out.",
    "up_blocks.3.attentions.2.proj_out.",
    *(
        f"up_blocks.3.attentions.2.transformer_blocks.0.{part}."
        for part in ("attn1", "attn2", "norm2", "norm3", "ff")
    ),
)
"""Prefixes of Stable Diffusion's tensors that the ReferenceNet does not have."""


class LayoutError(ValueError):
    """Tensors differ from the model's in name, shape or type; the message lists them."""


def model_layout(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the model; no memory is allocated for them."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in MegActor(config).state_dict().items()}


def component_layout(config: ModelConfig, component: str) -> dict[str, tuple[int, ...]]:
    """The layout of `unet` or `appearance_encoder`, without that prefix."""
    return strip_prefix(model_layout(config), f"{component}.")


def is_motion(name: str) -> bool:
    """Whether a tensor of the denoiser belongs to a motion module."""
    return re.match(r"(unet\.)?(down|up)_blocks\.\d+\.motion_modules\.", name) is not None


def is_driven(name: str) -> bool:
    """Whether a tensor of the denoiser belongs to the DrivenEncoder."""
    return re.match(r"(unet\.)?condition_input_layer\.", name) is not None


def strip_prefix(named: Mapping[str, T], prefix: str) -> dict[str, T]:
    """The entries under `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}


def check_layout(state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Check names, shapes and types.

    Raises:
        LayoutError: `state` does not have exactly the expected names and shapes, or not floating-point numbers.
    """
    wrong = [
        f"{name}: {tuple(state[name].shape)} for {shape}"
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    counts = [f"{name}: {tensor.dtype}" for name, tensor in state.items() if not tensor.is_floating_point()]
    problems = [
        f"{len(names)} {kind}: {_some(names)}"
        for kind, names in (
            ("missing", expected.keys() - state.keys()),
            ("unexpected", state.keys() - expected.keys()),
            ("of another shape", wrong),
            ("not of floating point", counts),
        )
        if names
    ]
    if problems:
        raise LayoutError(f"{source} does not fit the model: " + "; ".join(problems))


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The model's state dict under the names of the published checkpoint's `state_dict`."""
    return {f"module.{name}": tensor for name, tensor in state.items()}


def _some(names: Iterable[str], limit: int = 20) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more
