"""The `megactor-datagen` command: reads the command line, calls the library, prints what happened."""

from __future__ import annotations

import os
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from datagen.errors import UserError
from trainer.cli import register
from trainer.weights.cli import app as weights

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


class Runner(StrEnum):
    """Who does the work."""

    local = "local"
    ray = "ray"


ManifestArgument = Annotated[
    str | None,
    typer.Argument(metavar="[MANIFEST]", help="Manifest file, or the name of a bundled one such as `demo`."),
]
OutArgument = Annotated[Path, typer.Argument(metavar="OUT", help="Output folder of a run.")]
InputOption = Annotated[
    list[Path] | None,
    typer.Option("--input", help="Folder, archive or video instead of a manifest; repeatable."),
]
OutputOption = Annotated[
    Path, typer.Option("--output", help="Folder to write to; the same command resumes there.")
]
RecipeOption = Annotated[Path | None, typer.Option("--recipe", help="YAML file with what to do.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.SUB=VALUE", help="Change one recipe value; repeatable."),
]
DonorsOption = Annotated[
    Path | None, typer.Option("--donors", help="Folder of portraits that lend their identity.")
]
StylesOption = Annotated[
    Path | None, typer.Option("--styles", help="Folder of pictures to take styles from.")
]
RunnerOption = Annotated[Runner, typer.Option("--runner", help="This process, or Ray actors.")]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="Ray cluster to join; default: a local Ray.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Worker processes; default: all CPUs.")
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Curate about this many more sources now (whole parts).")
]
RootOption = Annotated[
    Path | None, typer.Option("--root", help="Where the manifest's footage lies, if elsewhere.")
]
TermsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-terms", metavar="NAME", help="Use a data set whose terms are missing or forbid it."
    ),
]


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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, touch nothing.")
    ] = False,
) -> None:
    """Plan, curate and synthesise: from footage to a finished data set. Rerun to resume."""
    from datagen import run as stages
    from datagen.layout import Output
    from datagen.preview import preview
    from datagen.summary import finish

    out = Output(output)
    if dry_run:
        with tempfile.TemporaryDirectory() as folder:
            footage = stages.find_footage(manifest, inputs or [], root, accept_terms or [], Path(folder))
            given = stages.gather(out, footage.recipe, recipe, assignments or [], donors, styles)
            typer.echo(preview(out, footage, given, limit))
        return
    engine = stages.Engine(runner.value, address, workers)
    given, _ = _plan(out, manifest, inputs, root, accept_terms, recipe, assignments, donors, styles)
    curated = stages.curate(out, given, engine, limit)
    made = stages.synthesise(out, given, engine)
    typer.echo(finish(out, given, curated, made))


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
    from datagen.layout import Output

    out = Output(output)
    _, planned = _plan(out, manifest, inputs, root, accept_terms, recipe, assignments, donors, styles)
    _say(
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
) -> None:
    """Find, measure and choose the clips of a planned output; look at OUT/clips before going on."""
    from datagen import run as stages
    from datagen.layout import Output
    from datagen.summary import describe_curation

    output = Output(out)
    given = stages.resume(output, recipe, assignments or [], donors, styles, _say)
    stages.curate(output, given, stages.Engine(runner.value, address, workers), limit)
    typer.echo(describe_curation(output))
    _say(f"next: megactor-datagen synthesise {out}")


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
) -> None:
    """Swap, stylise, augment, mask and pack the curated clips into shards."""
    from datagen import run as stages
    from datagen.layout import Output
    from datagen.summary import finish

    output = Output(out)
    given = stages.resume(output, recipe, assignments or [], donors, styles, _say)
    made = stages.synthesise(output, given, stages.Engine(runner.value, address, workers))
    typer.echo(finish(output, given, None, made))


@app.command(
    epilog="Examples:  megactor-datagen inspect out/demo   |   "
    "megactor-datagen inspect out/demo --where \"yaw_range > 20 and split = 'train'\" --save sheet.png   |   "
    "megactor-datagen inspect out/demo --clip CLIP_ID --json"
)
def inspect(
    out: OutArgument,
    where: Annotated[
        str | None, typer.Option("--where", metavar="SQL", help="Which clips: SQL of the index.")
    ] = None,
    clip: Annotated[
        str | None, typer.Option("--clip", metavar="ID", help="Everything about one clip.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write a contact sheet PNG of the clips.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Clips listed or drawn.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look into a data set: summary, matching clips, one clip, a picture."""
    from datagen import inspecting, show
    from datagen.shards import Dataset

    data = Dataset(out, where)
    if clip is not None:
        found = inspecting.clip_details(data, clip)
        typer.echo(show.as_json(found) if as_json else show.details(found))
        chosen = [clip]
    else:
        rows = inspecting.query(data)[:limit] if where is not None else []
        chosen = [row["clip_id"] for row in rows] or data.table["clip_id"].to_pylist()[:limit]
        summary = inspecting.summary(data)
        if as_json:
            typer.echo(show.as_json({"summary": summary, "clips": rows} if where is not None else summary))
        else:
            typer.echo(show.summary(summary))
            if rows:
                typer.echo(show.table(rows))
    if save is not None:
        if not chosen:
            raise UserError("no clip matches: there is nothing to draw; loosen --where")
        inspecting.sheet(data, chosen, save)
        _say(f"wrote {save}")


@app.command(epilog="Example:  megactor-datagen verify out/demo --deep")
def verify(
    out: OutArgument,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every frame too.")] = False,
) -> None:
    """Check hashes, rows against members and frame counts; exit 1 and a list on any fault."""
    from datagen.verify import verify as check

    found = check(out, deep=deep)
    for line in found.notes:
        _say(f"note: {line}")
    for line in found.faults:
        typer.echo(f"fault: {line}")
    depth = "every frame decoded" if deep else "hashes, rows, members and frame counts"
    if found.faults:
        raise UserError(f"{len(found.faults)} faults in {found.clips} clips of {found.units} units")
    typer.echo(f"{out} is sound: {found.clips} clips in {found.units} units checked ({depth})")


@app.command(epilog="Example:  megactor-datagen status out/demo --watch")
def status(
    out: OutArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until the run ends.")] = False,
) -> None:
    """How far a run is: parts, units, clips, failures, time left."""
    from datagen.layout import Output
    from datagen.status import describe, watch_status

    if watch:
        watch_status(Output(out), typer.echo)
    else:
        typer.echo(describe(Output(out)))


@app.command(epilog="Example:  megactor-datagen failures out/demo --json")
def failures(
    out: OutArgument,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """What was left out and why; failures that a retry resolved are not listed."""
    from datagen import show
    from datagen.inspecting import read_failures
    from datagen.layout import Output
    from datagen.run import require_plan

    require_plan(Output(out))
    rows = read_failures(out).to_pylist()
    typer.echo("\n".join(show.json_line(row) for row in rows) if as_json else show.failures(rows))


@app.command(epilog="Example:  megactor-datagen retry out/demo --reason crashed --reason out_of_memory")
def retry(
    out: OutArgument,
    reason: Annotated[
        list[str] | None, typer.Option("--reason", help="Only this reason; repeatable.")
    ] = None,
    runner: RunnerOption = Runner.ray,
    address: AddressOption = None,
    workers: WorkersOption = None,
) -> None:
    """Try failed sources and clips again, as new parts and units; what is published stays as it is."""
    from datagen import run as stages
    from datagen.layout import Output
    from datagen.retry import plan_retry
    from datagen.summary import finish

    output = Output(out)
    given = stages.resume(output, None, [], None, None, _say)
    asked = plan_retry(output, reason or [])
    engine = stages.Engine(runner.value, address, workers)
    _say(
        f"trying {sum(map(len, asked.parts.values()))} sources and {sum(map(len, asked.units.values()))} clips again"
    )
    curated = stages.curate(output, given, engine, limit=None, retries_only=True)
    typer.echo(finish(output, given, curated, stages.synthesise(output, given, engine)))


@app.command(epilog="Example:  megactor-datagen remove out/set --subject id10042")
def remove(
    out: OutArgument,
    source: Annotated[
        str | None, typer.Option("--source", help="Source video, as `inspect` names it.")
    ] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Person id.")] = None,
) -> None:
    """Withdraw footage (consent revoked): hidden from every reader at once."""
    from datagen.layout import Output
    from datagen.run import require_plan
    from datagen.withdraw import remove as withdraw

    if (source is None) == (subject is None):
        raise UserError("give either --source or --subject", code=2)
    require_plan(Output(out))
    typer.echo(withdraw(Output(out), source=source, subject=subject))


@app.command(epilog="Example:  megactor-datagen compact out/set --purge")
def compact(
    out: OutArgument,
    purge: Annotated[bool, typer.Option("--purge", help="Delete the bytes of withdrawn footage.")] = False,
) -> None:
    """Merge the index into one file for fast opening; optionally delete withdrawn bytes."""
    from datagen.layout import Output
    from datagen.run import require_plan
    from datagen.withdraw import compact as merge

    require_plan(Output(out))
    typer.echo(merge(Output(out), purge=purge))


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
    from datagen import run as stages

    footage = stages.find_footage(manifest, inputs or [], root, terms or [], out.root / "media")
    given = stages.gather(out, footage.recipe, recipe, assignments or [], donors, styles)
    if any(source.name == "input" for source, _ in footage.roots):
        _say("warning: --input footage states no licence or consent; every row will say `unstated`")
    return given, stages.plan(out, footage, given, _say)


def _say(text: str) -> None:
    typer.echo(text, err=True)


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
        _say(f"error: {error}")
        sys.exit(error.code)
    except KeyboardInterrupt:
        _say("interrupted; run the same command again to go on")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:  # the disk, a path or permissions: what the system says names it
        if os.environ.get("MEGACTOR_DATAGEN_DEBUG"):
            raise
        where = f": {error.filename}" if error.filename else ""
        _say(f"error: {error.strerror or error}{where}")
        sys.exit(1)
    except ImportError as error:
        _say(f"error: {_missing(error)}")
        sys.exit(1)
    except Exception as error:  # a bug: still one line, the traceback only for those who ask
        if os.environ.get("MEGACTOR_DATAGEN_DEBUG"):
            raise
        _say(
            f"internal error: {type(error).__name__}: {' '.join(str(error).split())}; please report it ({DEBUG})"
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
