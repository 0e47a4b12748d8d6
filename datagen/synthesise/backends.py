"""The backends a worker holds: named in the recipe, built once per process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from datagen.common.errors import UserError
from datagen.donors.donor import Donor
from datagen.donors.pool import Pool, load_pool
from datagen.faces import FaceAnalyser, Faces, ModelInfo
from datagen.recipe import Recipe
from datagen.synthesise.stylise.arbitrary import ArbitraryStyle, ClassicFilter, Style
from datagen.synthesise.swap.mesh import MeshSwap


class Swapper(Protocol):
    """Puts a donor's identity on a clip.

    The call takes frames (F, H, W, 3) uint8 RGB and returns as many; it raises `Refusal` where it cannot do well.
    """

    name: str
    models: tuple[ModelInfo, ...]

    def __call__(self, frames_FHWC: np.ndarray, faces: Faces, donor: Donor, seed: int) -> np.ndarray: ...


class Stylist(Protocol):
    """Gives a clip another look; same shapes as `Swapper`."""

    name: str
    models: tuple[ModelInfo, ...]

    def __call__(self, frames_FHWC: np.ndarray, faces: Faces, style: Style, seed: int) -> np.ndarray: ...


def build_swapper(recipe: Recipe) -> Swapper | None:
    """Swap backend of a recipe; None where it is off."""
    match recipe.swap.backend:
        case "off":
            return None
        case "mesh":
            return MeshSwap(shape=recipe.swap.shape, max_yaw_difference=recipe.swap.max_yaw_difference)
        case name:
            built: Swapper = _plugin("swap", name)(recipe)
            return built


def build_stylist(name: str, recipe: Recipe) -> Stylist:
    """Style backend by name."""
    match name:
        case "arbitrary":
            return ArbitraryStyle(strength=recipe.stylise.strength)
        case "filter":
            return ClassicFilter()
        case _:
            built: Stylist = _plugin("stylise", name)(recipe)
            return built


def _plugin(operation: str, name: str) -> Callable[[Recipe], Any]:
    """A backend another installed package offers as an entry point `megactor_datagen.<operation>`.

    Raises:
        UserError: no installed package offers it.
    """
    group = f"megactor_datagen.{operation}"
    for entry in entry_points(group=group, name=name):
        loaded: Callable[[Recipe], Any] = entry.load()
        return loaded
    offered = ", ".join(sorted(entry.name for entry in entry_points(group=group))) or "none"
    raise UserError(
        f"{operation}.backend = {name!r} is not built in, and no installed package offers it "
        f"(entry points in {group!r}: {offered})",
        code=2,
    )


@dataclass
class Backends:
    """Models of one worker process, loaded when first needed and kept."""

    recipe: Recipe
    analyser: FaceAnalyser
    swapper: Swapper | None
    stylists: dict[str, Stylist]
    styles: tuple[Style, ...]
    _pools: dict[tuple[Path, frozenset[str]], Pool]

    @classmethod
    def load(cls, recipe: Recipe, styles: tuple[Style, ...]) -> Backends:
        """Build the backends the recipe names."""
        stylists = {name: build_stylist(name, recipe) for name in recipe.stylise.backends}
        return cls(recipe, FaceAnalyser(), build_swapper(recipe), stylists, styles, {})

    def pool(self, path: Path, withdrawn: frozenset[str]) -> Pool:
        """A frozen donor pool without withdrawn people, read once."""
        key = (path, withdrawn)
        if key not in self._pools:
            self._pools[key] = load_pool(path, withdrawn)
        return self._pools[key]
