"""What a swap backend is, and how the recipe's one is built."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from datagen.common.plugins import build_plugin
from datagen.donors.donor import Donor
from datagen.faces import Faces, ModelInfo
from datagen.recipe import Recipe
from datagen.synthesise.swap.mesh import MeshSwap

GROUP = "megactor_datagen.swap"
"""Entry point group of swap backends in other packages; each takes the recipe and returns a `Swapper`."""


class Swapper(Protocol):
    """Gives the face of a clip a donor's identity.

    Attributes:
        name: the backend's name in recipes and index rows.
        models: networks it uses; their hashes are part of the recipe hash.
    """

    name: str
    models: tuple[ModelInfo, ...]

    def __call__(self, frames_FHWC: np.ndarray, faces: Faces, donor: Donor, seed: int) -> np.ndarray:
        """Swapped frames (F, H, W, 3) uint8 RGB.

        Args:
            frames_FHWC: (F, H, W, 3) uint8 RGB.
            faces: the track of the face, in these frames.
            donor: whose identity to use.
            seed: for anything random; the same seed gives the same bytes.

        Raises:
            Refusal: the clip cannot be swapped well.
        """
        ...


def build_swapper(recipe: Recipe) -> Swapper | None:
    """Swap backend of a recipe; None where it is off.

    Raises:
        UserError: the backend is neither built in nor installed.
    """
    match recipe.swap.backend:
        case "off":
            return None
        case "mesh":
            return MeshSwap(shape=recipe.swap.shape, max_yaw_difference=recipe.swap.max_yaw_difference)
        case name:
            built: Swapper = build_plugin(GROUP, name, "swap.backend", recipe, ("name", "models", "__call__"))
            return built
