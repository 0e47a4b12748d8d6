"""A stored case, and the record of how far a run of it was off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import json
import math
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
import torch
from torch import Tensor

TOLERANCE = 2e-5
NEAREST_SHARE = 1e-3
GRADIENT_TOLERANCE = 1e-3


class SpoiledCase(ValueError):
    """A case's files contradict each other or hold no usable numbers."""


@dataclass
class Case:
    """A case while it is run: what it holds, what was read of it, and what was found.

    Every tensor must either be read as an input or compared as an output (inner activations `act.*` excepted), so
    that none can be forgotten: `finish` reports the rest as faults.
    """

    name: str
    info: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    gradients: Mapping[str, Any] | None = None
    faults: list[str] = field(default_factory=list)
    worst: tuple[float, str] = (0.0, "nothing")
    largest: float = 0.0
    notes: list[str] = field(default_factory=list)
    _touched: set[str] = field(default_factory=set)

    def input(self, name: str) -> Tensor:
        """A stored input."""
        self._touched.add(name)
        if name not in self.tensors:
            raise SpoiledCase(f"tensor {name} is missing")
        return self.tensors[name]

    def pixels(self, name: str) -> Tensor:
        """A stored uint8 input as float32 in [0, 1]."""
        return self.input(name).float() / 255

    def has(self, name: str) -> bool:
        """Whether the case stores a tensor of that name."""
        return name in self.tensors

    def scalar(self, name: str) -> Any:
        """A value of the case's description."""
        if name not in self.info:
            raise SpoiledCase(f"field {name} is missing")
        return self.info[name]

    def check(self, name: str, got: Tensor, *, nearest: bool = False) -> None:
        """Compare a computed output with the stored one of that name.

        With `nearest`, outputs were sampled by nearest neighbour, and a few pixels may differ.
        """
        self.compare(name, got, self.input(name), nearest=nearest)

    def compare(self, name: str, got: Tensor, want: Tensor, *, nearest: bool = False) -> None:
        """Compare a computed value with a wanted one."""
        if got.shape != want.shape:
            self.faults.append(f"{name} has shape {tuple(got.shape)}, wanted {tuple(want.shape)}")
            return
        got, want = got.detach().double(), want.double()
        if not (got.isfinite().all() and want.isfinite().all()):
            self.faults.append(f"{name} has values that are not finite")
            return
        if not want.numel():
            self.faults.append(f"{name} is empty")
            return
        errors = (got - want).abs()
        limit = TOLERANCE * max(1.0, want.abs().max().item())
        if nearest:
            # A pixel is right or wrong as a whole; the channels share their sampling position.
            wrong = (errors > limit).any(dim=-3)
            if wrong.double().mean().item() <= NEAREST_SHARE:
                errors = errors[errors <= limit]
        self.record(name, errors.max().item(), limit)

    def equal(self, name: str, got: object) -> None:
        """Compare a computed value with a field of the description, exactly."""
        if got != self.scalar(name):
            self.faults.append(f"{name} is {got}, wanted {self.scalar(name)}")

    def close(self, name: str, got: float, want: float, limit: float) -> None:
        """Compare two numbers."""
        if not (math.isfinite(got) and math.isfinite(want)):
            self.faults.append(f"{name} is not finite")
            return
        self.record(name, abs(got - want), limit)

    def record(self, name: str, error: float, limit: float) -> None:
        """Take note of an error and the most it may be."""
        self.largest = max(self.largest, error)
        if not error / limit <= self.worst[0]:
            self.worst = (error / limit, name)
        if not error <= limit:
            self.faults.append(f"{name} is off by {error:.2e}, allowed {limit:.2e}")

    def finish(self) -> None:
        """Report stored tensors nothing was done with."""
        forgotten = sorted(name for name in self.tensors.keys() - self._touched if not name.startswith("act."))
        if forgotten:
            self.faults.append(f"not compared: {', '.join(forgotten)}")


def load_case(description: Path) -> Case:
    """Read a case and check that its description and its tensors belong together."""
    info = json.loads(description.read_text())
    if not isinstance(info, dict):
        raise SpoiledCase("the description is no JSON object")
    name = description.stem
    described = info.get("tensors", {})
    tensors = {}
    if described:
        path = description.with_suffix(".safetensors")
        if not path.is_file():
            raise SpoiledCase(f"{path.name} is missing")
        tensors = load_file(path)
    _agree(described, tensors)
    gradient_path = description.with_name(f"{name}_grad_norms.json")
    gradients = json.loads(gradient_path.read_text()) if gradient_path.is_file() else None
    if gradients is None and "backward_wall_seconds" in info:
        raise SpoiledCase(f"{gradient_path.name} is missing")
    return Case(name, info, tensors, gradients)


def _agree(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    if described.keys() != tensors.keys():
        odd = sorted(described.keys() ^ tensors.keys())
        raise SpoiledCase(f"description and tensors differ in {', '.join(odd)}")
    for name, tensor in tensors.items():
        entry = described[name]
        dtype = str(tensor.dtype).removeprefix("torch.")
        if list(tensor.shape) != entry["shape"] or dtype != entry["dtype"]:
            raise SpoiledCase(f"{name} is {dtype} {list(tensor.shape)}, described otherwise")
        if not tensor.double().isfinite().all():
            raise SpoiledCase(f"{name} has values that are not finite")
        if name.startswith("act.") or not tensor.numel():
            continue
        for statistic, value in (("min", tensor.min()), ("max", tensor.max())):
            if statistic in entry and not math.isclose(value.item(), entry[statistic], rel_tol=1e-5, abs_tol=1e-6):
                raise SpoiledCase(f"{name} has {statistic} {value.item():.6g}, described as {entry[statistic]:.6g}")


def video(tensor_BCFHW: Tensor) -> Tensor:
    """Between stored B C F H W and the model's B F C H W, either way."""
    return torch.transpose(tensor_BCFHW, 1, 2)
