"""What a run is made with, beside the footage: recipe, donors and styles, with their content hashes."""

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
    """Values that differ from the manifest's recipe, or from the one an output was begun with.

    Attributes:
        file: YAML file.
        values: `key.subkey=value`, on top of the file.
    """

    file: str | Path | None = None
    values: Sequence[str] = ()

    def __post_init__(self) -> None:
        require(isinstance(self.file, str | Path | None), "file", self.file, "give a YAML file, or None")
        texts("values", self.values)


@dataclass(frozen=True)
class RunOptions:
    """What a command or a `Pipeline` asks for. What is left out is as the output was begun with.

    Attributes:
        recipe: all of it, or changes.
        donors, styles: folders of pictures.
    """

    recipe: Recipe | RecipeChanges = field(default_factory=RecipeChanges)
    donors: Path | None = None
    styles: Path | None = None


def gather(out: Output, base: dict[str, Any], options: RunOptions, say: Say | None = None) -> RunInputs:
    """Recipe, donors and styles of a run, hashed.

    Args:
        out: the output, which may be new.
        base: recipe values of the manifest.
        options: what is asked for.
        say: told of styles that are left out.

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
    if record is not None:  # a withdrawn portrait may be deleted from its folder: the recipe stays the same
        portraits = read_withdrawn(Store.open(out.root)).portraits
        contents |= {key: sha256 for key, sha256 in record["contents"].items() if sha256 in portraits}
    return RunInputs(recipe, contents, donors, styles)


def resume(out: Output, options: RunOptions, roots: Sequence[str], say: Say) -> RunInputs:
    """Inputs of a planned output; options that are given must agree with those it was begun with.

    Args:
        out: the output.
        options: what is asked for.
        roots: `[NAME=]FOLDER`, where the footage lies now, if it has moved.
        say: told of warnings.

    Raises:
        UserError: nothing was planned there, something changed, or a root is not there.
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
