"""The VAE of a Stable Diffusion folder, in diffusers' layout."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from datagen.common.errors import UserError
from trainer.checkpoints.tensor_files import read_json, read_tensors, write_safetensors
from trainer.model.state_dict import LayoutError, check_layout

# What diffusers raises for configs it cannot build.
_WRONG = (
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
)
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


@dataclass(frozen=True)
class VAEWeights:
    """Config and tensors of an `AutoencoderKL`, current names."""

    config: dict[str, object]
    state: dict[str, Tensor]


def read_vae(folder: Path) -> VAEWeights:
    """Read a VAE folder; attention names from before diffusers 0.13 become the current ones.

    Raises:
        UserError: unreadable, or names or shapes differ from the VAE that its config describes.
    """
    config = read_json(folder / "config.json")
    levels, layers = config.get("block_out_channels"), config.get("layers_per_block", 1)
    if not isinstance(levels, list) or len(levels) > 8 or not isinstance(layers, int) or layers > 64:
        raise UserError(f"{folder / 'config.json'} describes no AutoencoderKL of a size that can be built")
    state = {_current_name(name): tensor for name, tensor in read_tensors(folder).items()}
    try:
        with torch.device("meta"):
            expected = AutoencoderKL.from_config(config).state_dict()
        state = {name: _as_linear(tensor, expected.get(name)) for name, tensor in state.items()}
        check_layout(
            state, {name: tuple(tensor.shape) for name, tensor in expected.items()}, f"{folder} (VAE)"
        )
    except LayoutError as error:
        raise UserError(str(error)) from error
    except _WRONG as error:
        raise UserError(f"{folder / 'config.json'} describes no AutoencoderKL: {error}") from error
    return VAEWeights(config, state)


def write_vae(folder: Path, weights: VAEWeights) -> None:
    """Write a folder that `AutoencoderKL.from_pretrained` opens."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(weights.config, indent=1) + "\n", encoding="utf-8")
    write_safetensors(folder / "diffusion_pytorch_model.safetensors", weights.state)


def _current_name(name: str) -> str:
    return re.sub(
        r"(mid_block\.attentions\.0\.)(query|key|value|proj_attn)\.",
        lambda match: f"{match[1]}{_OLD_ATTENTION[match[2]]}.",
        name,
    )


def _as_linear(tensor: Tensor, expected: Tensor | None) -> Tensor:
    """The tensor as a matrix where a file stores an attention matrix as 1x1 convolution."""
    if expected is not None and tensor.dim() == 4 and expected.dim() == 2 and tensor.shape[2:] == (1, 1):
        return tensor[:, :, 0, 0]
    return tensor
