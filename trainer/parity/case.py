"""A stored case, and the errors found when it is run."""

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
GRADIENT_TOLERANCE = 1e-3


class CaseError(ValueError):
    """The files of a case contradict each other or have unusable numbers."""


@dataclass
class Case:
    """A case while it is run.

    Every tensor but the inner activations `act.*` must be read as an input or compared as an output; `finish` reports
    the others as faults.

    Attributes:
        name: name of the case.
        info: description of the case.
        tensors: inputs and outputs of the case.
        gradients: norms of the gradients of a training case.
        faults: the faults found.
        worst: the largest error as a share of its tolerance, and where it is.
        largest: the largest error.
        notes: other lines of the report.
    """

    name: str
    info: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    gradients: Mapping[str, Any] | None = None
    faults: list[str] = field(default_factory=list)
    worst: tuple[float, str] = (0.0, "nothing")
    largest: float = 0.0
    notes: list[str] = field(default_factory=list)
    _used: set[str] = field(default_factory=set)

    def input(self, name: str) -> Tensor:
        """A stored input."""
        self._used.add(name)
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
        """A value of the description."""
        if name not in self.info:
            raise CaseError(f"field {name} is missing")
        return self.info[name]

    def check(self, name: str, got: Tensor) -> None:
        """Compare a computed output with the stored one of that name."""
        self.compare(name, got, self.input(name))

    def check_rounded(self, name: str, got: Tensor, unrounded: str) -> None:
        """Compare an output that was computed from reference features rounded to float16.

        Near a rounding boundary an error of 1e-6 moves a feature by 1e-3. Half of the effect that rounding has on the
        stored output is therefore allowed. The description states that effect; it is compared too.
        """
        effect = (self.input(name) - self.input(unrounded)).abs().max().item()
        self.close("max_abs_diff_fp16_bank", effect, self.scalar("max_abs_diff_fp16_bank"), 1e-6)
        self.compare(name, got, self.input(name), slack=effect / 2)

    def compare(self, name: str, got: Tensor, want: Tensor, *, slack: float = 0.0) -> None:
        """Compare a computed tensor with a wanted one; `slack` is added to the tolerance."""
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
        """Record an error and its limit."""
        self.largest = max(self.largest, error)
        if not error / limit <= self.worst[0]:
            self.worst = (error / limit, name)
        if not error <= limit:
            self.faults.append(f"{name} is off by {error:.2e}, allowed {limit:.2e}")

    def finish(self) -> None:
        """Report stored tensors that were neither read nor compared."""
        unused = sorted(name for name in self.tensors.keys() - self._used if not name.startswith("act."))
        if unused:
            self.faults.append(f"not compared: {', '.join(unused)}")


def load_case(description: Path) -> Case:
    """Read a case and check that its description fits its tensors.

    Raises:
        CaseError: it does not, or a file is missing.
    """
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
    _check_description(described, tensors)
    gradient_path = description.with_name(f"{name}_grad_norms.json")
    gradients = json.loads(gradient_path.read_text()) if gradient_path.is_file() else None
    if gradients is None and "backward_wall_seconds" in info:
        raise CaseError(f"{gradient_path.name} is missing")
    return Case(name, info, tensors, gradients)


def _check_description(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
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
            _check_statistics(name, tensor.double(), entry)


def _check_statistics(name: str, values: Tensor, entry: Mapping[str, Any]) -> None:
    if values.numel() < 2:
        return
    got = {"min": values.min(), "max": values.max(), "mean": values.mean(), "std": values.std()}
    reach = max(1e-3, abs(got["max"].item()), abs(got["min"].item()))
    for statistic, value in got.items():
        if statistic in entry and not abs(value.item() - entry[statistic]) <= 1e-6 * reach:
            raise CaseError(f"{name} has {statistic} {value.item():.8g}, described as {entry[statistic]:.8g}")


def video(tensor_BCFHW: Tensor) -> Tensor:
    """Swap the axes C and F: stored videos are B C F H W, the model's B F C H W."""
    return torch.transpose(tensor_BCFHW, 1, 2)
