"""A stored case, and the record of how far a run of it was off."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

TOLERANCE = 2e-5
NEAREST_SHARE = 1e-3
GRADIENT_TOLERANCE = 1e-3


class CaseError(ValueError):
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
            raise CaseError(f"tensor {name} is missing")
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
            raise CaseError(f"field {name} is missing")
        return self.info[name]

    def check(self, name: str, got: Tensor, *, nearest: bool = False) -> None:
        """Compare a computed output with the stored one of that name.

        With `nearest`, outputs were sampled by nearest neighbour, and a few pixels may differ.
        """
        self.compare(name, got, self.input(name), nearest=nearest)

    def check_rounded(self, name: str, got: Tensor, unrounded: str) -> None:
        """Compare the variant of an output whose reference features were rounded to float16.

        Where an error of 1e-6 meets a rounding edge, a feature moves by 1e-3, so this variant can only be met to a part
        of the effect that rounding has. That effect is stated, and is itself compared.
        """
        effect = (self.input(name) - self.input(unrounded)).abs().max().item()
        self.close("max_abs_diff_fp16_bank", effect, self.scalar("max_abs_diff_fp16_bank"), 1e-6)
        self.compare(name, got, self.input(name), slack=effect / 2)

    def compare(
        self, name: str, got: Tensor, want: Tensor, *, nearest: bool = False, slack: float = 0.0
    ) -> None:
        """Compare a computed value with a wanted one; `slack` is allowed beyond the tolerance."""
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
        limit = TOLERANCE * max(1.0, want.abs().max().item()) + slack
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
        forgotten = sorted(
            name for name in self.tensors.keys() - self._touched if not name.startswith("act.")
        )
        if forgotten:
            self.faults.append(f"not compared: {', '.join(forgotten)}")


def load_case(description: Path) -> Case:
    """Read a case and check that its description and its tensors belong together."""
    info = json.loads(description.read_text())
    if not isinstance(info, dict):
        raise CaseError("the description is no JSON object")
    name = description.stem
    described = info.get("tensors", {})
    tensors = {}
    if described:
        path = description.with_suffix(".safetensors")
        if not path.is_file():
            raise CaseError(f"{path.name} is missing")
        tensors = load_file(path)
    _agree(described, tensors)
    gradient_path = description.with_name(f"{name}_grad_norms.json")
    gradients = json.loads(gradient_path.read_text()) if gradient_path.is_file() else None
    if gradients is None and "backward_wall_seconds" in info:
        raise CaseError(f"{gradient_path.name} is missing")
    return Case(name, info, tensors, gradients)


def _agree(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    if described.keys() != tensors.keys():
        odd = sorted(described.keys() ^ tensors.keys())
        raise CaseError(f"description and tensors differ in {', '.join(odd)}")
    for name, tensor in tensors.items():
        entry = described[name]
        dtype = str(tensor.dtype).removeprefix("torch.")
        if list(tensor.shape) != entry["shape"] or dtype != entry["dtype"]:
            raise CaseError(f"{name} is {dtype} {list(tensor.shape)}, described otherwise")
        if not tensor.double().isfinite().all():
            raise CaseError(f"{name} has values that are not finite")
        if not name.startswith("act."):
            _agree_statistics(name, tensor.double(), entry)


def _agree_statistics(name: str, values: Tensor, entry: Mapping[str, Any]) -> None:
    if values.numel() < 2:
        return
    got = {"min": values.min(), "max": values.max(), "mean": values.mean(), "std": values.std()}
    reach = max(1e-3, abs(got["max"].item()), abs(got["min"].item()))
    for statistic, value in got.items():
        if statistic in entry and not abs(value.item() - entry[statistic]) <= 1e-6 * reach:
            raise CaseError(f"{name} has {statistic} {value.item():.8g}, described as {entry[statistic]:.8g}")


def video(tensor_BCFHW: Tensor) -> Tensor:
    """Between stored B C F H W and the model's B F C H W, either way."""
    return torch.transpose(tensor_BCFHW, 1, 2)
