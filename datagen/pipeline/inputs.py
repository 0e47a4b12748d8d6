"""Inputs of a run besides the footage: recipe, donors and styles, with their content hashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datagen.output.paths import Output
from datagen.output.store import Store
from datagen.output.tombstones import read_withdrawn
from datagen.pipeline.arguments import require, texts
from datagen.pipeline.content_hashes import content_hashes
from datagen.pipeline.footage import Say
from datagen.pipeline.run_record import RunInputs, read_record, recorded_recipe, require_plan, start
from datagen.recipe import Recipe, load_recipe
from datagen.sources.roots import move, read_roots, write_roots


@dataclass(frozen=True)
class RecipeChanges:
    """Values that differ from the recipe of the manifest or of an existing output.

    Attributes:
        file: YAML file.
        values: `key.subkey=value`, applied after the file.
    """

    file: str | Path | None = None
    values: Sequence[str] = ()

    def __post_init__(self) -> None:
        require(isinstance(self.file, str | Path | None), "file", self.file, "give a YAML file, or None")
        texts("values", self.values)


@dataclass(frozen=True)
class RunOptions:
    """Options of a command or a `Pipeline`. For an existing output, missing ones are taken from its `run.json`.

    Attributes:
        recipe: a whole recipe, or changes of one.
        donors, styles: folders of pictures.
    """

    recipe: Recipe | RecipeChanges = field(default_factory=RecipeChanges)
    donors: Path | None = None
    styles: Path | None = None


def gather(out: Output, base: dict[str, Any], options: RunOptions, say: Say | None = None) -> RunInputs:
    """Recipe, donors and styles of a run, with their content hashes.

    Args:
        out: the output, which may be new.
        base: recipe values of the manifest.
        options: options of the user.
        say: called with a line for each style that is left out.

    Raises:
        UserError: a value, folder or picture that cannot be used.
    """
    record = read_record(out)
    recipe, donors, styles = options.recipe, options.donors, options.styles
    if record is not None:
        donors = donors or (Path(record["donors"]) if record["donors"] else None)
        styles = styles or (Path(record["styles"]) if record["styles"] else None)
    if isinstance(recipe, RecipeChanges):
        if record is not None and recipe.file is None and not base:
            base = recorded_recipe(record).model_dump(mode="json")
        recipe = load_recipe(
            None if recipe.file is None else Path(recipe.file), list(texts("values", recipe.values)), base
        )
    donors, styles = donors and donors.absolute(), styles and styles.absolute()
    contents = content_hashes(recipe, donors, styles, say)
    if record is not None:  # the recipe hash stays the same if a withdrawn portrait was deleted
        portraits = read_withdrawn(Store.open(out.root)).portraits
        contents |= {key: sha256 for key, sha256 in record["contents"].items() if sha256 in portraits}
    return RunInputs(recipe, contents, donors, styles)


def resume(out: Output, options: RunOptions, roots: Sequence[str], say: Say) -> RunInputs:
    """Inputs of a planned output; given options must agree with those of its first run.

    Args:
        out: the output.
        options: options of the user.
        roots: `[NAME=]FOLDER`, new folders of footage that has moved.
        say: called with warnings.

    Raises:
        UserError: nothing was planned there, the inputs changed, or a root is missing.
    """
    require_plan(out)
    inputs = gather(out, {}, options, say)
    out.create()
    out.clear_stale_tmp()
    for warning in start(out, inputs):
        say(f"warning: {warning}")
    if roots:
        write_roots(out, move(read_roots(out), list(roots)))
    return inputs
