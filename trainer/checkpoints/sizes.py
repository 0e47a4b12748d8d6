"""Finds the sizes of a model in published files: in diffusers' config.json, or in the shapes of the tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from datagen.common.errors import UserError
from trainer.checkpoints.tensor_files import read_json
from trainer.model.config import TINY, MegActorConfig, ModelConfig, VAEConfig
from trainer.model.state_dict import LayoutError

Sizes = dict[str, Any]


def unet_sizes(config_file: Path) -> Sizes:
    """Fields of `ModelConfig` from a diffusers UNet's config.

    Its `attention_head_dim` is the number of heads, as usual for Stable Diffusion 1.5.
    """
    known = read_json(config_file)
    names = {
        "latent_channels": "in_channels",
        "block_out_channels": "block_out_channels",
        "layers_per_block": "layers_per_block",
        "attention_heads": "attention_head_dim",
        "cross_attention_dim": "cross_attention_dim",
        "norm_num_groups": "norm_num_groups",
    }
    return {ours: _builtin(known[theirs]) for ours, theirs in names.items() if theirs in known}


def vae_sizes(config: Mapping[str, object]) -> Sizes:
    """Fields of `VAEConfig` from a diffusers AutoencoderKL's config."""
    names = VAEConfig.__dataclass_fields__
    return {name: _builtin(config[name]) for name in names if config.get(name) is not None}


def tensor_sizes(shapes: Mapping[str, tuple[int, ...]]) -> Sizes:
    """Fields of `ModelConfig` that follow from shapes of published names; the numbers of heads and norm groups do not.

    Raises:
        LayoutError: a tensor has too few axes.
    """

    def axis(name: str, number: int) -> int:
        if len(shapes[name]) <= number:
            raise LayoutError(f"{name} has shape {shapes[name]}, which lacks axis {number}")
        return shapes[name][number]

    sizes: Sizes = {}
    widths = {}
    for name in shapes:
        match = re.fullmatch(
            r"down_blocks\.(\d+)\.(?:resnets\.0\.conv2|motion_modules\.0\.temporal_transformer\.norm)\.weight",
            name,
        )
        if match:
            widths[int(match[1])] = axis(name, 0)
        if name.startswith("down_blocks.0.") and name.endswith(".attn2.to_k.weight"):
            sizes["cross_attention_dim"] = axis(name, 1)
        if name.endswith(".pos_encoder.pe"):
            sizes["max_frames"] = axis(name, 1)
    if widths:
        sizes["block_out_channels"] = tuple(widths[level] for level in sorted(widths))
    layers = {
        m[1]
        for name in shapes
        if (m := re.match(r"down_blocks\.0\.(?:resnets|motion_modules)\.(\d+)\.", name))
    }
    if layers:
        sizes["layers_per_block"] = len(layers)
    if "conv_out.weight" in shapes:
        sizes["latent_channels"] = axis("conv_out.weight", 0)
    elif "conv_in.weight" in shapes:
        sizes["latent_channels"] = axis("conv_in.weight", 1)
    if "condition_input_layer.spatial_conv_out.weight" in shapes:
        sizes["driven_channels"] = axis("condition_input_layer.spatial_conv_out.weight", 0)
    return sizes


def with_sizes(base: MegActorConfig, model: Sizes, vae: Sizes, source: str) -> MegActorConfig:
    """`base` with its behaviour kept and sizes replaced; the image encoder's output follows the UNet's tokens.

    Raises:
        UserError: no model can have these sizes.
    """
    try:
        sized = replace(base.model, **model)
        tiny = _same_size(sized, TINY.model)
        encoder = (
            TINY.image_encoder
            if tiny
            else replace(base.image_encoder, projection_dim=sized.cross_attention_dim)
        )
        start = TINY.vae if tiny else replace(base.vae, latent_channels=sized.latent_channels)
        return replace(base, model=sized, image_encoder=encoder, vae=replace(start, **vae))
    except (ValueError, TypeError) as error:
        raise UserError(f"{source}: {error}; give the sizes with --config") from error


def _same_size(first: ModelConfig, second: ModelConfig) -> bool:
    names = ("block_out_channels", "cross_attention_dim", "latent_channels")
    return all(getattr(first, name) == getattr(second, name) for name in names)


def _builtin(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
