"""Reads and writes tensors. No code in a file is ever executed.

Tensors are read as views of memory-mapped files, so that opening a checkpoint takes address space, not memory.
"""

from __future__ import annotations

import json
import logging
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from datagen.common.errors import UserError

logger = logging.getLogger(__name__)

_INDEX = ".safetensors.index.json"
_PICKLED = (".ckpt", ".pt", ".pth", ".bin")
_STEMS = ("diffusion_pytorch_model", "model", "diffusion_pytorch_model.fp16", "model.fp16", "pytorch_model")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file (`.safetensors`, or a pickled `.ckpt`, `.pt`, `.pth`, `.bin`) or of a model's folder.

    A pickled file may hold the tensors directly or under `state_dict`.

    Raises:
        UserError: absent, damaged, or holding anything but tensors and plain values.
    """
    if path.is_dir():
        return _read_folder(path)
    logger.debug("reading %s", path)
    if not path.is_file():
        raise UserError(f"{path} is not there")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in _PICKLED:
        return _read_pickled(path)
    raise UserError(f"{path}: unknown kind of file; known are .safetensors, {', '.join(_PICKLED)}")


def read_json(path: Path) -> dict[str, object]:
    """A JSON file that holds an object.

    Raises:
        UserError: absent or something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} must hold a JSON object, found {type(data).__name__}")
    return data


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file with the usual permissions; the library would let only its owner read it."""
    path.touch()
    mode = path.stat().st_mode
    seen: set[int] = set()
    written: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        # The library refuses one storage under two names, so all names but the first get a copy.
        written[name] = tensor.clone() if place in seen and tensor.numel() else tensor.contiguous()
        seen.add(place)
    save_file(written, path, metadata={"format": "pt"})
    path.chmod(mode)


def _read_folder(folder: Path) -> dict[str, Tensor]:
    """The weights of a folder in the layout of diffusers and transformers, in one file or in shards."""
    for stem in _STEMS:
        if (folder / f"{stem}{_INDEX}").is_file():
            return _read_shards(folder / f"{stem}{_INDEX}")
        for suffix in (".safetensors", ".bin"):
            if (folder / f"{stem}{suffix}").is_file():
                return read_tensors(folder / f"{stem}{suffix}")
    raise UserError(f"{folder} holds no {_STEMS[0]}.safetensors, model.safetensors or the like")


def _read_shards(index: Path) -> dict[str, Tensor]:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise UserError(f"{index} has no weight_map of file names")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        if Path(name).name != name:
            raise UserError(f"{index} names {name!r}, which is not a file beside it")
        tensors |= read_tensors(index.parent / name)
    if tensors.keys() != places.keys():
        differing = sorted(tensors.keys() ^ places.keys())
        raise UserError(f"{index} and its shards differ in {len(differing)} names, first {differing[0]}")
    return {name: tensors[name] for name in places}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is not a complete safetensors file: {error}") from error


def _read_pickled(path: Path) -> dict[str, Tensor]:
    try:
        data = _load(path)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} was refused: it is damaged or holds more than tensors, and code in it is never executed "
            f"({_first_line(error)})"
        ) from error
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        IndexError,
    ) as error:
        raise UserError(f"{path} cannot be read as a torch checkpoint: {_first_line(error)}") from error
    if isinstance(data, Mapping) and isinstance(data.get("state_dict"), Mapping):
        data = data["state_dict"]
    if not isinstance(data, Mapping) or not data:
        raise UserError(f"{path} holds no named tensors")
    strange = [str(name) for name, value in data.items() if not _is_plain(value)]
    if strange:
        raise UserError(f"{path} has entries that are no plain tensors: {', '.join(sorted(strange)[:20])}")
    return {str(name): tensor.detach() for name, tensor in data.items()}


def _is_plain(value: object) -> bool:
    """Whether it is a dense tensor with all its values in the file; otherwise a small file could expand to any size."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta or value.is_quantized:
        return False
    return value.untyped_storage().nbytes() >= value.numel() * value.element_size()


def _load(path: Path) -> object:
    """`torch.load` without executing code; memory-mapped where the format allows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about unusual pickles; our error says enough
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap can only be used" not in str(error):
                raise
        return torch.load(path, map_location="cpu", weights_only=True)  # the format before torch 1.6


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
