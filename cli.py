"""The `megactor-datagen` command: reads the command line, calls the library, prints what happened."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from datagen.commands.inspect import commands
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
    end,
    say,
)
from datagen.common.errors import UserError
from trainer.commands import register
from trainer.commands.weights import app as weights

DEBUG = "MEGACTOR_DATAGEN_DEBUG=1 shows the traceback"
app = typer.Typer(
    name="megactor-datagen",
    help="Turn talking-head video into training data for MegActor, look into it, and train from it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(
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
        bool, typer.Option("--dry-run", help="Say what would be done, touch nothing.")
    ] = False,
) -> None:
    """Plan, curate and synthesise: from footage to a finished data set. Rerun to resume."""
    from datagen.output.paths import Output
    from datagen.pipeline import stages
    from datagen.pipeline.dry_run import preview
    from datagen.pipeline.footage import find_footage
    from datagen.pipeline.summary import finish

    out = Output(output)
    if dry_run:
        with tempfile.TemporaryDirectory() as folder:
            footage = find_footage(manifest, inputs or [], root, accept_terms or [], Path(folder))
            given = stages.gather(out, footage.recipe, recipe, assignments or [], donors, styles, say)
            answer(preview(out, footage, given, limit, say))
        return
    engine = stages.Engine(runner.value, address, workers)
    given, _ = _plan(out, manifest, inputs, root, accept_terms, recipe, assignments, donors, styles)
    curated, made = stages.run(out, given, engine, limit)
    end(finish(out, given, curated, made, max_failed))


@app.command(
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
    """List the source videos and cut them into parts; nothing is decoded yet."""
    from datagen.output.paths import Output

    out = Output(output)
    _, planned = _plan(out, manifest, inputs, root, accept_terms, recipe, assignments, donors, styles)
    say(
        f"{planned.table.num_rows} sources planned ({planned.added} new); next: megactor-datagen curate {output}"
    )


@app.command(epilog="Example:  megactor-datagen curate out/set --workers 8 --limit 100")
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
    """Find, measure and choose the clips of a planned output; look at OUT/clips before going on."""
    from datagen.output.paths import Output
    from datagen.pipeline import stages
    from datagen.pipeline.summary import describe_curation

    output = Output(out)
    given = stages.resume(output, recipe, assignments or [], donors, styles, roots or [], say)
    waves = stages.cut(output, given, limit)
    stages.curate(output, given, stages.Engine(runner.value, address, workers), waves, limit)
    answer(describe_curation(output))
    say(f"next: megactor-datagen synthesise {out}")


@app.command(epilog="Example:  megactor-datagen synthesise out/set --address auto")
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
    from datagen.output.paths import Output
    from datagen.pipeline import stages
    from datagen.pipeline.summary import finish

    output = Output(out)
    given = stages.resume(output, recipe, assignments or [], donors, styles, roots or [], say)
    made = stages.synthesise(output, given, stages.Engine(runner.value, address, workers))
    end(finish(output, given, [], [made], max_failed))


def _plan(
    out: Any,
    manifest: str | None,
    inputs: list[Path] | None,
    root: Path | None,
    terms: list[str] | None,
    recipe: Path | None,
    assignments: list[str] | None,
    donors: Path | None,
    styles: Path | None,
) -> tuple[Any, Any]:
    from datagen.pipeline import stages
    from datagen.pipeline.footage import find_footage

    footage = find_footage(manifest, inputs or [], root, terms or [], out.root / "media")
    given = stages.gather(out, footage.recipe, recipe, assignments or [], donors, styles, say)
    if any(source.name == "input" for source, _ in footage.places):
        say("warning: --input footage states no licence or consent; every row will say `unstated`")
    return given, stages.plan(out, footage, given, say)


app.add_typer(commands)
register(app)
app.add_typer(weights, name="weights")


def _missing(error: ImportError) -> str:
    """What to install so that an import works."""
    text = " ".join(str(error).split())
    if ".so" in text and any(name in text for name in ("libGL", "libglib", "libgthread", "libX", "libxcb")):
        return f"OpenCV misses a system library ({text}); on Debian or Ubuntu: apt-get install libgl1 libglib2.0-0"
    return (
        f"{text}; install the project with its dependencies: pip install -c constraints.txt megactor-datagen"
    )


def main() -> None:
    """Entry point: every expected error is one line and an exit code."""
    try:
        app()
    except UserError as error:
        say(f"error: {error}")
        sys.exit(error.code)
    except KeyboardInterrupt:
        say("interrupted; run the same command again to go on")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:  # the disk, a path or permissions: what the system says names it
        if os.environ.get("MEGACTOR_DATAGEN_DEBUG"):
            raise
        where = f": {error.filename}" if error.filename else ""
        say(f"error: {error.strerror or error}{where}")
        sys.exit(1)
    except ImportError as error:
        say(f"error: {_missing(error)}")
        sys.exit(1)
    except Exception as error:  # a bug: still one line, the traceback only for those who ask
        if os.environ.get("MEGACTOR_DATAGEN_DEBUG"):
            raise
        say(
            f"internal error: {type(error).__name__}: {' '.join(str(error).split())}; please report it ({DEBUG})"
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
