"""Models of a worker process: the face analyser and the recipe's swap and style backends, built once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datagen.donors.pool import Pool, load_pool
from datagen.faces import FaceAnalyser
from datagen.recipe import Recipe
from datagen.synthesise.stylise.base import Stylist, build_stylist
from datagen.synthesise.stylise.style import Style
from datagen.synthesise.swap.base import Swapper, build_swapper


@dataclass
class Backends:
    """Models of one worker process; donor pools are loaded when they are first needed, and kept."""

    recipe: Recipe
    analyser: FaceAnalyser
    swapper: Swapper | None
    stylists: dict[str, Stylist]
    styles: tuple[Style, ...]
    _pools: dict[tuple[Path, frozenset[str]], Pool]

    @classmethod
    def load(cls, recipe: Recipe, styles: tuple[Style, ...]) -> Backends:
        """Build the backends that the recipe names."""
        stylists = {name: build_stylist(name, recipe) for name in recipe.stylise.backends}
        return cls(recipe, FaceAnalyser(), build_swapper(recipe), stylists, styles, {})

    def pool(self, path: Path, withdrawn: frozenset[str]) -> Pool:
        """A frozen donor pool without withdrawn people; it is read once."""
        key = (path, withdrawn)
        if key not in self._pools:
            self._pools[key] = load_pool(path, withdrawn)
        return self._pools[key]
