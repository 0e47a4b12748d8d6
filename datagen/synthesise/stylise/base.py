"""What a style backend is, and how one is built by name."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from datagen.common.plugins import build_plugin
from datagen.faces import Faces, ModelInfo
from datagen.recipe import Recipe
from datagen.synthesise.stylise.arbitrary import ArbitraryStyle
from datagen.synthesise.stylise.filters import ClassicFilter
from datagen.synthesise.stylise.style import Style

GROUP = "megactor_datagen.stylise"
"""Entry point group of style backends in other packages; each takes the recipe and returns a `Stylist`."""


class Stylist(Protocol):
    """Changes the look of a clip and keeps its motion.

    Attributes:
        name: the backend's name in recipes and index rows.
        models: networks it uses; their hashes are part of the recipe hash.
    """

    name: str
    models: tuple[ModelInfo, ...]

    def __call__(self, frames_FHWC: np.ndarray, faces: Faces, style: Style, seed: int) -> np.ndarray:
        """Styled frames (F, H, W, 3) uint8 RGB.

        Args:
            frames_FHWC: (F, H, W, 3) uint8 RGB.
            faces: the track of the face, in these frames.
            style: the look to give it.
            seed: for anything random; the same seed gives the same bytes.

        Raises:
            Refusal: the clip cannot be styled well.
        """
        ...


def build_stylist(name: str, recipe: Recipe) -> Stylist:
    """Style backend by name.

    Raises:
        UserError: the backend is neither built in nor installed.
    """
    match name:
        case "arbitrary":
            return ArbitraryStyle(strength=recipe.stylise.strength)
        case "filter":
            return ClassicFilter()
        case _:
            built: Stylist = build_plugin(
                GROUP, name, "stylise.backends", recipe, ("name", "models", "__call__")
            )
            return built
