"""The Python entry point: `Pipeline(recipe).run("videos/", "out/set")`. The command line calls it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from datagen.output.paths import Output
from datagen.pipeline import stages
from datagen.pipeline.arguments import output_folder, require, require_positive, texts
from datagen.pipeline.dry_run import preview
from datagen.pipeline.engine import Engine
from datagen.pipeline.footage import Footage, Say, find_footage
from datagen.pipeline.inputs import RecipeChanges, RunOptions, gather, resume
from datagen.pipeline.progress import OnProgress
from datagen.pipeline.run_record import RunInputs
from datagen.pipeline.summary import CurationResult, RunResult, describe_curation, finish
from datagen.plan.parts import Planned
from datagen.recipe import Recipe

Source = str | Path | Sequence[str | Path]
"""Footage: a folder, archive or video, several of them, a manifest (`.yaml`), or the name of a bundled manifest."""

logger = logging.getLogger(__name__)


def log_line(text: str) -> None:
    """Send a message for the user to `logging`."""
    logger.log(logging.WARNING if text.startswith("warning:") else logging.INFO, "%s", text)


@dataclass(frozen=True)
class Pipeline:
    """Turns footage into a data set. After an interruption, the same call continues where it stopped.

    Attributes:
        recipe: a whole recipe, or `RecipeChanges`: values that differ from the manifest's recipe or, for an existing
            output, from its recipe.
        donors: folder of donor portraits; None uses people of the set and bundled portraits.
        styles: folder of style pictures; None uses the bundled ones.
        runner: `local` for one child process, `ray` for Ray actors.
        address: address of a Ray cluster, or `auto`; None starts Ray on this machine.
        workers: number of worker processes; None for one per CPU.
        on_progress: called with a `Progress` at every change; None shows lines or a bar on stderr.
        say: called with lines for the user, such as warnings; by default they go to `logging`, None drops them.
    """

    recipe: Recipe | RecipeChanges = field(default_factory=RecipeChanges)
    donors: str | Path | None = None
    styles: str | Path | None = None
    runner: Literal["local", "ray"] = "ray"
    address: str | None = None
    workers: int | None = None
    on_progress: OnProgress | None = None
    say: Say | None = log_line

    def __post_init__(self) -> None:
        recipe = "give a Recipe, such as Recipe.load('mine.yaml'), or RecipeChanges"
        require(isinstance(self.recipe, Recipe | RecipeChanges), "recipe", self.recipe, recipe)
        require(self.runner in ("local", "ray"), "runner", self.runner, "give 'local' or 'ray'")
        require_positive("workers", self.workers)
        for name in ("donors", "styles"):
            folder = getattr(self, name)
            require(isinstance(folder, str | Path | None), name, folder, "give a folder of pictures, or None")
        for name in ("say", "on_progress"):
            function = getattr(self, name)
            require(function is None or callable(function), name, function, "give a function, or None")

    def run(
        self,
        footage: Source,
        out: str | Path,
        *,
        limit: int | None = None,
        root: str | Path | None = None,
        accept_terms: Sequence[str] = (),
    ) -> RunResult:
        """Plan, curate and synthesise.

        Args:
            footage: the source videos, see `Source`.
            out: folder of the data set.
            limit: curate about this many more sources now, in whole parts; None for all.
            root: folder of the manifest's footage, if it is not where the manifest says.
            accept_terms: names of data sets to use although their terms are missing or forbid it.

        Raises:
            UserError: wrong options, missing footage, or no usable clip at all.
        """
        output = Output(output_folder(out))
        require_positive("limit", limit)
        inputs, _ = self._plan(output, footage, root, accept_terms)
        curated, made = stages.run(output, inputs, self._engine, limit)
        return finish(output, inputs, curated, made)

    def plan(
        self,
        footage: Source,
        out: str | Path,
        *,
        root: str | Path | None = None,
        accept_terms: Sequence[str] = (),
    ) -> Planned:
        """List the source videos and divide them into parts; nothing is decoded. Arguments as for `run`."""
        return self._plan(Output(output_folder(out)), footage, root, accept_terms)[1]

    def curate(
        self, out: str | Path, *, limit: int | None = None, roots: Sequence[str] = ()
    ) -> CurationResult:
        """Find, measure and choose the clips of a planned output.

        Args:
            out: folder of the data set.
            limit: curate about this many more sources now, in whole parts; None for all.
            roots: `[NAME=]FOLDER`, new folders of footage that has moved.
        """
        require_positive("limit", limit)
        output = Output(output_folder(out))
        inputs = resume(output, self._options, texts("roots", roots), self._say)
        stages.curate(output, inputs, self._engine, stages.cut(output, inputs, limit), limit)
        return describe_curation(output)

    def synthesise(self, out: str | Path, *, roots: Sequence[str] = ()) -> RunResult:
        """Swap, stylise, augment, mask and pack the curated clips. Arguments as for `curate`."""
        output = Output(output_folder(out))
        inputs = resume(output, self._options, texts("roots", roots), self._say)
        return finish(output, inputs, [], [stages.synthesise(output, inputs, self._engine)])

    def dry_run(
        self,
        footage: Source,
        out: str | Path,
        *,
        limit: int | None = None,
        root: str | Path | None = None,
        accept_terms: Sequence[str] = (),
    ) -> str:
        """Text that says what `run` would do and cost; nothing is written. Arguments as for `run`."""
        require_positive("limit", limit)
        output = Output(output_folder(out))
        with tempfile.TemporaryDirectory() as folder:
            found = self._footage(footage, root, accept_terms, Path(folder))
            inputs = gather(output, found.recipe, self._options, self._say)
            return preview(output, found, inputs, limit, self._say)

    def _say(self, text: str) -> None:
        if self.say is not None:
            self.say(text)

    @property
    def _engine(self) -> Engine:
        return Engine(self.runner, self.address, self.workers, self.on_progress)

    @property
    def _options(self) -> RunOptions:
        donors, styles = (None if folder is None else Path(folder) for folder in (self.donors, self.styles))
        return RunOptions(self.recipe, donors, styles)

    def _plan(
        self, out: Output, footage: Source, root: str | Path | None, accept_terms: Sequence[str]
    ) -> tuple[RunInputs, Planned]:
        found = self._footage(footage, root, accept_terms, out.root / "media")
        inputs = gather(out, found.recipe, self._options, self._say)
        return inputs, stages.plan(out, found, inputs, self._say)

    def _footage(
        self, footage: Source, root: str | Path | None, accept_terms: Sequence[str], media: Path
    ) -> Footage:
        manifest, paths = manifest_or_paths(footage)
        where = None if root is None else Path(root)
        return find_footage(manifest, paths, where, list(texts("accept_terms", accept_terms)), media)


def manifest_or_paths(footage: Source) -> tuple[str | None, list[Path]]:
    """The name of a manifest, or paths of footage.

    Raises:
        UserError: it is neither a path or name, nor a list of paths.
    """
    if not isinstance(footage, str | Path):
        paths = isinstance(footage, Sequence) and all(isinstance(path, str | Path) for path in footage)
        require(paths, "footage", footage, "give a folder, a video, a manifest, or a list of paths")
        return None, [Path(path) for path in footage]
    path = Path(footage)
    if path.suffix in (".yaml", ".yml") or not path.exists():
        return str(footage), []
    return None, [path]
