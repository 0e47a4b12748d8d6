"""Commands that inspect, check and repair a data set; the set may be unfinished."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from datagen.common.cli_options import (
    AddressOption,
    OutArgument,
    Runner,
    RunnerOption,
    WorkersOption,
    answer,
    say,
)
from datagen.common.errors import UserError

commands = typer.Typer()


@commands.command(
    epilog="Examples:  megactor-datagen inspect out/demo   |   "
    "megactor-datagen inspect out/demo --where \"yaw_range > 20 and split = 'train'\" --save sheet.png   |   "
    "megactor-datagen inspect out/demo --clip CLIP_ID --json"
)
def inspect(
    out: OutArgument,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="SQL", help="Select clips by an SQL condition on the index."),
    ] = None,
    clip: Annotated[
        str | None, typer.Option("--clip", metavar="ID", help="Show all data of one clip.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write a contact sheet of the clips as PNG.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Largest number of clips to list or draw.")
    ] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Inspect a data set: summary, matching clips, one clip, or a contact sheet."""
    from datagen.inspect import query as inspecting
    from datagen.inspect import terminal as show
    from datagen.shards import Dataset

    data = Dataset(out, where)
    if clip is not None:
        found = inspecting.clip_details(data, clip)
        answer(show.as_json(found) if as_json else show.details(found))
        chosen = [clip]
    else:
        rows = inspecting.query(data)[:limit] if where is not None else []
        chosen = [row["clip_id"] for row in rows] or data.table["clip_id"].to_pylist()[:limit]
        summary = inspecting.summary(data)
        if as_json:
            answer(show.as_json({"summary": summary, "clips": rows} if where is not None else summary))
        else:
            answer(show.summary(summary))
            if rows:
                answer(show.table(rows))
    if save is not None:
        if not chosen:
            raise UserError("no clip matches, so there is nothing to draw; relax --where")
        inspecting.sheet(data, chosen, save)
        say(f"wrote {save}")


@commands.command(epilog="Example:  megactor-datagen verify out/demo --deep")
def verify(
    out: OutArgument,
    deep: Annotated[bool, typer.Option("--deep", help="Also decode every frame.")] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Make missing and damaged shards and tables again, then check again."),
    ] = False,
    runner: RunnerOption = Runner.ray,
    address: AddressOption = None,
    workers: WorkersOption = None,
) -> None:
    """Check hashes, rows against members, and frame counts. Faults are listed; the exit code is 1 then."""
    from datagen.inspect.verify import verify as check

    found = check(out, deep=deep)
    if repair and (found.damaged_units or found.damaged_pieces or found.damaged_merged):
        from datagen.maintain.repair import repair as mend
        from datagen.output.paths import Output
        from datagen.pipeline.engine import Engine
        from datagen.pipeline.inputs import RunOptions, resume

        for line in found.faults:
            answer(f"fault: {line}")
        output = Output(out)
        inputs = resume(output, RunOptions(), [], say)
        for line in mend(output, inputs, Engine(runner.value, address, workers), found):
            answer(line)
        found = check(out, deep=deep)
    for line in found.notes:
        say(f"note: {line}")
    for line in found.faults:
        answer(f"fault: {line}")
    depth = "every frame decoded" if deep else "hashes, rows, members and frame counts"
    if found.faults:
        raise UserError(f"{len(found.faults)} faults in {found.clips} clips of {found.units} units")
    answer(f"{out} has no faults: {found.clips} clips in {found.units} units checked ({depth})")


@commands.command(epilog="Example:  megactor-datagen status out/demo --watch")
def status(
    out: OutArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Show every change until the run ends.")] = False,
) -> None:
    """Show the progress of a run: parts, units, failures, time left."""
    from datagen.output.paths import Output
    from datagen.pipeline.status import describe, watch_status

    if watch:
        watch_status(Output(out), answer)
    else:
        answer(describe(Output(out)))


@commands.command(epilog="Example:  megactor-datagen failures out/demo --json")
def failures(
    out: OutArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """List what was left out and why, without failures that a retry has resolved."""
    from datagen.inspect import terminal as show
    from datagen.output.failures import read_failures
    from datagen.output.paths import Output
    from datagen.pipeline.run_record import require_plan

    require_plan(Output(out))
    rows = read_failures(out).to_pylist()
    answer("\n".join(show.json_line(row) for row in rows) if as_json else show.failures(rows))
