"""Converts published weights to checkpoints: Stable Diffusion 1.5, AnimateDiff, appearance encoders, MegActor.

A checkpoint is always complete. What a source lacks comes from a base checkpoint or, without one, is initialised as
for training from scratch; the checkpoint records where each group came from, and the command prints it.
Names are those of `trainer.model.state_dict`; a source whose names or shapes differ is an error that lists them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from datagen.common.errors import UserError
from datagen.common.staging import refuse_existing
from trainer.checkpoints.folder import (
    layout_of,
    load_info,
    load_state,
    save_checkpoint,
)
from trainer.checkpoints.initial import initial_state
from trainer.checkpoints.sizes import Sizes, tensor_sizes, unet_sizes, vae_sizes, with_sizes
from trainer.checkpoints.tensor_files import read_tensors
from trainer.checkpoints.vae import VAEWeights, read_vae
from trainer.model.config import DEFAULT, PUBLISHED, MegActorConfig
from trainer.model.state_dict import (
    REFERENCE_TAIL,
    LayoutError,
    check_layout,
    is_driven,
    is_motion,
    strip_prefix,
)

logger = logging.getLogger(__name__)

Kind = Literal["sd15", "animatediff-v3", "appearance-encoder", "megactor"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Shapes = Mapping[str, tuple[int, ...]]

_FROZEN = ("module.vae.", "module.text_encoder.")  # in the published file, but read from files of their own


@dataclass(frozen=True)
class ImportedWeights:
    """Tensors of a source, under the source's names, and the sizes that follow from it.

    Attributes:
        kind: the source's kind, which decides how its names are read.
        path: the source's path.
        tensors: tensors by their names in the file, without prefixes of wrapper modules.
        sizes: fields of `ModelConfig` that follow from it.
        vae: the VAE in the same folder, if any.
    """

    kind: Kind
    path: Path
    tensors: dict[str, Tensor]
    sizes: Sizes
    vae: VAEWeights | None = None


def import_weights(
    source: Path,
    output: Path,
    *,
    kind: Kind | None = None,
    base: Path | None = None,
    config: MegActorConfig | None = None,
    dtype: torch.dtype | None = None,
    seed: int = 0,
) -> dict[str, str]:
    """Convert a source to a checkpoint folder.

    Args:
        source: file or folder.
        output: the checkpoint folder to make.
        kind: the source's kind; None detects it.
        base: checkpoint from which everything that the source lacks is taken.
        config: sizes and behaviour; default is the base's, else `published` for MegActor's own checkpoint and
            `default` otherwise, with the sizes of the source.
        dtype: type to which all weights are converted; None keeps theirs.
        seed: seed of the weights that are initialised.

    Returns:
        For each parameter group, where its weights came from.

    Raises:
        UserError: the source is unreadable or holds code, names or shapes do not fit, or the output exists.
    """
    refuse_existing(output)
    read = open_source(source, kind)
    vae = read.vae
    if base is not None and vae is None and (base / "vae").is_dir():
        vae = read_vae(base / "vae")
    if config is None and base is not None:
        config = load_info(base).config
    elif config is None:
        behaviour = PUBLISHED if read.kind == "megactor" else DEFAULT
        config = with_sizes(behaviour, read.sizes, vae_sizes(vae.config) if vae else {}, str(source))
    expected = layout_of(config.model)
    logger.info("importing %s as %s: %d tensors", source, read.kind, len(read.tensors))
    state = _CONVERT[read.kind](read, expected)
    origins = {group_of(name): f"{read.kind} {source.name}" for name in state}
    if base is not None:
        before = load_info(base)
        rest = {name: tensor for name, tensor in load_state(base).items() if name not in state}
        origins |= {group: text for group, text in before.origins.items() if group not in origins}
    else:
        rest = initial_state(config.model, expected.keys() - state.keys(), seed)
        origins |= {group_of(name): f"initialised, seed {seed}" for name in rest}
    save_checkpoint(output, config, rest | state, origins, vae=vae, dtype=dtype)
    return origins


def open_source(path: Path, kind: Kind | None = None) -> ImportedWeights:
    """Open a source and detect its kind.

    Raises:
        UserError: unreadable, or of no known kind.
    """
    if not path.exists():
        raise UserError(f"{path} is not there")
    if path.is_dir() and (path / "unet").is_dir() and kind in (None, "sd15"):
        sizes = unet_sizes(path / "unet" / "config.json")
        vae = read_vae(path / "vae") if (path / "vae").is_dir() else None
        return ImportedWeights("sd15", path, read_tensors(path / "unet"), sizes, vae)
    if kind == "sd15":
        raise UserError(f"{path} is no diffusers folder of Stable Diffusion: it has no folder unet")
    inner = path / "appearance_encoder"
    tensors = read_tensors(inner if inner.is_dir() and kind in (None, "appearance-encoder") else path)
    found = kind or _detect(tensors, path)
    if found == "megactor":
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_FROZEN)}
        shapes = {name.removeprefix("module.unet."): tuple(tensor.shape) for name, tensor in tensors.items()}
    else:
        if found == "appearance-encoder" and any(n.startswith("module.appearance_encoder.") for n in tensors):
            tensors = strip_prefix(tensors, "module.appearance_encoder.")
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    try:
        return ImportedWeights(found, path, tensors, tensor_sizes(shapes))
    except LayoutError as error:
        raise UserError(f"{path} ({found}) does not fit the model: {error}") from error


def group_of(name: str) -> str:
    """The parameter group, as `MegActor.parameter_groups` calls it, of a tensor of the model."""
    if name.startswith("appearance_encoder."):
        return "reference_net"
    if is_driven(name):
        return "driven_encoder"
    return "motion_modules" if is_motion(name) else "unet_spatial"


def _detect(tensors: Mapping[str, Tensor], path: Path) -> Kind:
    names = [name.removeprefix("module.") for name in tensors]
    if any(name.startswith("unet.") for name in names):
        return "megactor"
    if all(".motion_modules." in name for name in names):
        return "animatediff-v3"
    if "conv_in.weight" in names and "conv_out.weight" not in names:
        return "appearance-encoder"
    raise UserError(
        f"{path}: its kind cannot be told from its names ({sorted(names)[0]}, ...); give one of {KINDS}"
    )


def _from_sd15(source: ImportedWeights, expected: Shapes) -> dict[str, Tensor]:
    """Spatial UNet and ReferenceNet from Stable Diffusion; `conv_in` gets its 4 channels, and zeros for the others."""
    unet = {name: shape for name, shape in strip_prefix(expected, "unet.").items() if _is_spatial(name)}
    wide = unet["conv_in.weight"]
    latent = expected["appearance_encoder.conv_in.weight"]
    _check(source.tensors, unet | {"conv_in.weight": latent}, source)
    spatial = dict(source.tensors)
    spatial["conv_in.weight"] = spatial["conv_in.weight"].new_zeros(wide)
    spatial["conv_in.weight"][:, : latent[1]] = source.tensors["conv_in.weight"]
    reference = {n: tensor for n, tensor in source.tensors.items() if not n.startswith(REFERENCE_TAIL)}
    _check(reference, strip_prefix(expected, "appearance_encoder."), source)
    return _prefixed("unet", spatial) | _prefixed("appearance_encoder", reference)


def _from_animatediff(source: ImportedWeights, expected: Shapes) -> dict[str, Tensor]:
    motion = {name: shape for name, shape in strip_prefix(expected, "unet.").items() if is_motion(name)}
    _check(source.tensors, motion, source)
    return _prefixed("unet", source.tensors)


def _from_appearance(source: ImportedWeights, expected: Shapes) -> dict[str, Tensor]:
    _check(source.tensors, strip_prefix(expected, "appearance_encoder."), source)
    return _prefixed("appearance_encoder", source.tensors)


def _from_megactor(source: ImportedWeights, expected: Shapes) -> dict[str, Tensor]:
    _check(source.tensors, {f"module.{name}": shape for name, shape in expected.items()}, source)
    return strip_prefix(source.tensors, "module.")


_CONVERT: dict[Kind, Callable[[ImportedWeights, Shapes], dict[str, Tensor]]] = {
    "sd15": _from_sd15,
    "animatediff-v3": _from_animatediff,
    "appearance-encoder": _from_appearance,
    "megactor": _from_megactor,
}


def _check(tensors: Mapping[str, Tensor], expected: Shapes, source: ImportedWeights) -> None:
    try:
        check_layout(tensors, expected, f"{source.path} ({source.kind})")
    except LayoutError as error:
        raise UserError(str(error)) from error


def _is_spatial(name: str) -> bool:
    return not is_motion(name) and not is_driven(name)


def _prefixed(component: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{component}.{name}": tensor for name, tensor in tensors.items()}
