"""Data generation for MegActor: talking-head video in, Parquet-indexed training shards out.

    from datagen import Pipeline, Recipe
    Pipeline(Recipe()).run("videos/", "out/set")

The names below are public and stay; they are loaded when they are first used, so that a reader of shards does not load
the pipeline.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from datagen.common.version import __version__

if TYPE_CHECKING:
    from datagen.common.errors import UserError
    from datagen.pipeline.door import Pipeline
    from datagen.pipeline.inputs import RecipeChanges
    from datagen.pipeline.progress import Progress
    from datagen.pipeline.summary import CurationResult, RunResult
    from datagen.plan.parts import Planned
    from datagen.recipe import Recipe
    from datagen.shards import Dataset

logging.getLogger(__name__).addHandler(logging.NullHandler())  # quiet unless the program sets up logging

__all__ = [
    "CurationResult",
    "Dataset",
    "Pipeline",
    "Planned",
    "Progress",
    "Recipe",
    "RecipeChanges",
    "RunResult",
    "UserError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    match name:
        case "CurationResult":
            from datagen.pipeline.summary import CurationResult

            return CurationResult
        case "Dataset":
            from datagen.shards import Dataset

            return Dataset
        case "Pipeline":
            from datagen.pipeline.door import Pipeline

            return Pipeline
        case "Planned":
            from datagen.plan.parts import Planned

            return Planned
        case "Progress":
            from datagen.pipeline.progress import Progress

            return Progress
        case "Recipe":
            from datagen.recipe import Recipe

            return Recipe
        case "RecipeChanges":
            from datagen.pipeline.inputs import RecipeChanges

            return RecipeChanges
        case "RunResult":
            from datagen.pipeline.summary import RunResult

            return RunResult
        case "UserError":
            from datagen.common.errors import UserError

            return UserError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
