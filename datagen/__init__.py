"""Data generation for MegActor: from talking-head videos to training shards with a Parquet index.

    from datagen import Pipeline, Recipe
    Pipeline(Recipe()).run("videos/", "out/set")

The names below are the public interface. Each is imported when it is first used, so that reading shards does not import
the pipeline.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from datagen.common.version import __version__

if TYPE_CHECKING:
    from datagen.common.errors import UserError
    from datagen.pipeline.door import Pipeline
    from datagen.pipeline.inputs import RecipeChanges
    from datagen.pipeline.progress import Progress
    from datagen.pipeline.summary import CurationResult, RunResult
    from datagen.recipe import Recipe
    from datagen.shards import Dataset

logging.getLogger(__name__).addHandler(logging.NullHandler())  # quiet unless the program sets up logging

_MODULES = {
    "CurationResult": "datagen.pipeline.summary",
    "Dataset": "datagen.shards",
    "Pipeline": "datagen.pipeline.door",
    "Progress": "datagen.pipeline.progress",
    "Recipe": "datagen.recipe",
    "RecipeChanges": "datagen.pipeline.inputs",
    "RunResult": "datagen.pipeline.summary",
    "UserError": "datagen.common.errors",
}

__all__ = [
    "CurationResult",
    "Dataset",
    "Pipeline",
    "Progress",
    "Recipe",
    "RecipeChanges",
    "RunResult",
    "UserError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
