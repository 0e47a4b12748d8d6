"""Commands that make a data set: `run`, or its steps `plan`, `curate` and `synthesise`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datagen.common.cli_options import (
    AddressOption,
    DonorsOption,
    InputOption,
    LimitOption,
    ManifestArgument,
    MaxFailedOption,
    OutArgument,
    OutputOption,
    RecipeOption,
    RootOption,
    RootsOption,
    Runner,
    RunnerOption,
    SetOption,
    StylesOption,
    TermsOption,
    WorkersOption,
    answer,
    say,
)
from datagen.common.errors import UserError

if TYPE_CHECKING:
    from datagen.pipeline.door import Pipeline
    from datagen.pipeline.summary import RunResult

commands = typer.Typer()


@commands.command(
    epilog="Examples:  megactor-datagen run demo --output out/demo   |   "
    "megactor-datagen run --input videos/ --donors portraits/ --output out/set --workers 8   |   "
    "megactor-datagen run vfhq.yaml --output /data/set --address auto --set swap.shape=0.8"
)
def run(
    output: OutputOption,
    manifest: ManifestArgument = None,
    inputs: InputOption = None,
    recipe: RecipeOption = None,
    assignments: SetOption = None,
    donors: DonorsOption = None,
    styles: StylesOption = None,
    runner: RunnerOption = Runner.ray,
    address: AddressOption = None,
    workers: WorkersOption = None,
    limit: LimitOption = None,
    root: RootOption = None,
    accept_terms: TermsOption = None,
    max_failed: MaxFailedOption = 0.5,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be done; write nothing.")
    ] = False,
) -> None:
    """Plan, curate and synthesise: from footage to a finished data set. Run it again to resume."""
    pipeline = _pipeline(recipe, assignments, donors, styles, runner, address, workers)
    footage, terms = _footage(manifest, inputs), accept_terms or []
    if dry_run:
        answer(pipeline.dry_run(footage, output, limit=limit, root=root, accept_terms=terms))
        return
    print_result(pipeline.run(footage, output, limit=limit, root=root, accept_terms=terms), max_failed)


@commands.command(
    epilog="Example:  megactor-datagen plan demo --output out/demo && megactor-datagen curate out/demo"
)
def plan(
    output: OutputOption,
    manifest: ManifestArgument = None,
    inputs: InputOption = None,
    recipe: RecipeOption = None,
    assignments: SetOption = None,
    donors: DonorsOption = None,
    styles: StylesOption = None,
    root: RootOption = None,
    accept_terms: TermsOption = None,
) -> None:
    """List the source videos and divide them into parts; nothing is decoded yet."""
    pipeline = _pipeline(recipe, assignments, donors, styles)
    planned = pipeline.plan(_footage(manifest, inputs), output, root=root, accept_terms=accept_terms or [])
    say(
        f"{planned.table.num_rows} sources planned ({planned.added} new); next: megactor-datagen curate {output}"
    )


@commands.command(epilog="Example:  megactor-datagen curate out/set --workers 8 --limit 100")
def curate(
    out: OutArgument,
    recipe: RecipeOption = None,
    assignments: SetOption = None,
    donors: DonorsOption = None,
    styles: StylesOption = None,
    runner: RunnerOption = Runner.ray,
    address: AddressOption = None,
    workers: WorkersOption = None,
    limit: LimitOption = None,
    roots: RootsOption = None,
) -> None:
    """Find, measure and choose the clips of a planned output. You can inspect OUT/clips before the next step."""
    pipeline = _pipeline(recipe, assignments, donors, styles, runner, address, workers)
    answer(pipeline.curate(out, limit=limit, roots=roots or []).text)
    say(f"next: megactor-datagen synthesise {out}")


@commands.command(epilog="Example:  megactor-datagen synthesise out/set --address auto")
def synthesise(
    out: OutArgument,
    recipe: RecipeOption = None,
    assignments: SetOption = None,
    donors: DonorsOption = None,
    styles: StylesOption = None,
    runner: RunnerOption = Runner.ray,
    address: AddressOption = None,
    workers: WorkersOption = None,
    roots: RootsOption = None,
    max_failed: MaxFailedOption = 0.5,
) -> None:
    """Swap, stylise, augment, mask and pack the curated clips into shards."""
    pipeline = _pipeline(recipe, assignments, donors, styles, runner, address, workers)
    print_result(pipeline.synthesise(out, roots=roots or []), max_failed)


def print_result(result: RunResult, max_failed: float) -> None:
    """Print the summary of a run and exit with its exit code.

    Raises:
        typer.Exit: the exit code is not 0.
    """
    answer(result.text)
    if code := result.exit_code(max_failed):
        answer(
            f"  exit code   {code}: {result.failed_sources} of {result.sources} sources failed, "
            f"more than --max-failed {max_failed:g}"
        )
        raise typer.Exit(code)


def _pipeline(
    recipe: Path | None,
    assignments: list[str] | None,
    donors: Path | None,
    styles: Path | None,
    runner: Runner = Runner.ray,
    address: str | None = None,
    workers: int | None = None,
) -> Pipeline:
    from datagen.pipeline.door import Pipeline
    from datagen.pipeline.inputs import RecipeChanges

    changes = RecipeChanges(recipe, tuple(assignments or ()))
    return Pipeline(changes, donors, styles, runner.value, address, workers, say=say)


def _footage(manifest: str | None, inputs: list[Path] | None) -> str | list[Path]:
    """The footage argument of `Pipeline`.

    Raises:
        UserError: both are given, or neither.
    """
    if (manifest is None) == (not inputs):
        raise UserError("give either a MANIFEST or one or more --input paths", code=2)
    return inputs or [] if manifest is None else manifest
