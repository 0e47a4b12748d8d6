"""The project's checkpoint folder: a model's config and weights, and no code.

    CKPT/config.json                     format, `MegActorConfig`, where each group of weights came from
    CKPT/unet/model*.safetensors         Denoiser with DrivenEncoder and motion modules, published names
    CKPT/appearance_encoder/model*...    ReferenceNet
    CKPT/vae/                            the VAE in diffusers' layout, where the source has one

A component above `SHARD_BYTES` is split as the hub's tools do it (`model-00001-of-00003.safetensors` and
`model.safetensors.index.json`). A folder is written under a temporary name, synced and renamed, so it
is complete or absent.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import torch
from huggingface_hub import split_state_dict_into_shards_factory
from torch import Tensor

from datagen.common.errors import UserError
from datagen.common.staging import staged
from trainer.checkpoints.tensor_files import read_json, read_tensors, write_safetensors
from trainer.checkpoints.vae import VAEWeights, write_vae
from trainer.model.config import MegActorConfig, ModelConfig
from trainer.model.megactor import MegActor
from trainer.model.state_dict import COMPONENTS, LayoutError, check_layout, model_layout, strip_prefix

logger = logging.getLogger(__name__)

FORMAT = "megactor-datagen checkpoint"
VERSION = 1
SHARD_BYTES = 2 * 10**9


@dataclass(frozen=True)
class CheckpointInfo:
    """What `config.json` says.

    Attributes:
        config: sizes, behaviour and diffusion of the model.
        origins: for each parameter group, a phrase that says where its weights came from.
    """

    config: MegActorConfig
    origins: dict[str, str]


def save_checkpoint(
    folder: Path,
    config: MegActorConfig,
    state: Mapping[str, Tensor],
    origins: Mapping[str, str],
    *,
    vae: VAEWeights | None = None,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a checkpoint folder, atomically, one shard at a time.

    Args:
        folder: the folder to make; must not exist yet.
        config: the model's config.
        state: the model's state dict, every name (see `trainer.model.state_dict`).
        origins: where each parameter group's weights came from.
        vae: the VAE to save with the model.
        dtype: type to which all weights of the model are converted; None keeps theirs.
        shard_bytes: largest size of one file.

    Raises:
        UserError: the folder exists, names or shapes are not the model's, disk full.
    """
    ensure_fits(state, config, "the state to save")
    state = {name: state[name] for name in layout_of(config.model)}
    with staged(folder) as staging:
        staging.mkdir()
        for component in COMPONENTS:
            _write_component(staging / component, strip_prefix(state, f"{component}."), dtype, shard_bytes)
        if vae is not None:
            write_vae(staging / "vae", vae)
        document = {
            "format": FORMAT,
            "version": VERSION,
            "origins": dict(origins),
            "config": config.to_dict(),
        }
        (staging / "config.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load_info(folder: Path) -> CheckpointInfo:
    """Read `config.json` of a checkpoint folder.

    Raises:
        UserError: absent, of another format or version, or with unknown fields.
    """
    document = read_json(folder / "config.json")
    if document.get("format") != FORMAT:
        raise UserError(f"{folder} is no {FORMAT}; make one with: megactor-datagen weights import")
    if document.get("version") != VERSION:
        raise UserError(
            f"{folder} has format version {document.get('version')!r}, this program reads {VERSION}"
        )
    config, origins = document.get("config"), document.get("origins")
    if not isinstance(config, dict) or not isinstance(origins, dict):
        raise UserError(f"{folder / 'config.json'} lacks its config or origins")
    try:
        return CheckpointInfo(MegActorConfig.from_dict(config), {str(k): str(v) for k, v in origins.items()})
    except (ValueError, TypeError) as error:
        raise UserError(f"{folder / 'config.json'}: {error}") from error


def load_state(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint by the model's names, as views of its files.

    Raises:
        UserError: damaged, or names or shapes are not those its config describes.
    """
    info = load_info(folder)
    logger.info("loading weights from %s", folder)
    state = {
        f"{component}.{name}": tensor
        for component in COMPONENTS
        for name, tensor in read_tensors(folder / component).items()
    }
    ensure_fits(state, info.config, str(folder))
    return state


def load_model(
    folder: Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> MegActor:
    """Build the model of a checkpoint with its weights, which are never in memory twice.

    Args:
        folder: a checkpoint folder.
        device: the device of the weights.
        dtype: type to which the weights are converted; None keeps the files' types.

    Raises:
        UserError: as `load_state`.
    """
    config = load_info(folder).config
    with torch.device("meta"):
        model = MegActor(config.model)
    copies = {name: tensor.to(device, dtype, copy=True) for name, tensor in load_state(folder).items()}
    model.load_state_dict(copies, assign=True)
    return model


@cache
def layout_of(config: ModelConfig) -> Mapping[str, tuple[int, ...]]:
    """`model_layout`, read-only and cached, because it builds the whole model on the meta device."""
    return MappingProxyType(model_layout(config))


def ensure_fits(state: Mapping[str, Tensor], config: MegActorConfig, source: str) -> None:
    """Check names and shapes against the model.

    Raises:
        UserError: listing missing, unexpected and misshapen names.
    """
    try:
        check_layout(state, layout_of(config.model), source)
    except LayoutError as error:
        raise UserError(str(error)) from error


def _write_component(
    folder: Path, state: Mapping[str, Tensor], dtype: torch.dtype | None, shard_bytes: int
) -> None:
    folder.mkdir()
    plan = split_state_dict_into_shards_factory(
        dict(state),
        get_storage_size=lambda tensor: tensor.numel() * (dtype or tensor.dtype).itemsize,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=shard_bytes,
    )
    for name, members in plan.filename_to_tensors.items():
        shard = {member: state[member].to(dtype or state[member].dtype) for member in members}
        write_safetensors(folder / name, shard)
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        (folder / "model.safetensors.index.json").write_text(
            json.dumps(index, indent=1) + "\n", encoding="utf-8"
        )
