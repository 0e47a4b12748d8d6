"""Data generation for MegActor: from talking-head videos to training shards with a Parquet index.

    from datagen import Pipeline, Recipe
    Pipeline(Recipe()).run("videos/", "out/set")

The names below are the public interface. Each is imported when it is first used, so that reading shards does not import
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
