"""Commands that change a finished data set: retry failures, withdraw people, merge and purge."""

from __future__ import annotations

from typing import Annotated

import typer

from datagen.commands.run import print_result
from datagen.common.cli_options import (
    AddressOption,
    MaxFailedOption,
    OutArgument,
    RootsOption,
    Runner,
    RunnerOption,
    WorkersOption,
    answer,
    say,
)
from datagen.common.errors import UserError

commands = typer.Typer()


@commands.command(epilog="Example:  megactor-datagen retry out/demo --reason crashed --reason out_of_memory")
def retry(
    out: OutArgument,
    reason: Annotated[
        list[str] | None, typer.Option("--reason", help="Only failures with this reason; repeatable.")
    ] = None,
    runner: RunnerOption = Runner.ray,
    address: AddressOption = None,
    workers: WorkersOption = None,
    roots: RootsOption = None,
    max_failed: MaxFailedOption = 0.5,
) -> None:
    """Try failed sources and clips again, as new parts and units; published files stay unchanged.

    Failures that depend only on the footage (too small, no face ...) are left out unless named.
    """
    from datagen.maintain.retry import retry as try_again
    from datagen.output.paths import Output
    from datagen.pipeline.engine import Engine

    engine = Engine(runner.value, address, workers)
    print_result(try_again(Output(out), engine, reason or [], roots or [], say), max_failed)


@commands.command(epilog="Example:  megactor-datagen remove out/set --subject id10042")
def remove(
    out: OutArgument,
    source: Annotated[
        str | None, typer.Option("--source", help="Source video, with the name that `inspect` shows.")
    ] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Person id.")] = None,
    donor: Annotated[
        str | None, typer.Option("--donor", help="Portrait that was used as donor or style.")
    ] = None,
) -> None:
    """Withdraw a person (consent revoked): hide them from all readers at once and never use them as donor."""
    from datagen.maintain.withdraw import remove as withdraw
    from datagen.output.paths import Output
    from datagen.pipeline.run_record import require_plan
    from datagen.pipeline.summary import refresh

    if sum(name is not None for name in (source, subject, donor)) != 1:
        raise UserError("give one of --source, --subject and --donor", code=2)
    require_plan(Output(out))
    answer(withdraw(Output(out), source=source, subject=subject, donor=donor))
    refresh(Output(out))


@commands.command(epilog="Example:  megactor-datagen compact out/set --purge")
def compact(
    out: OutArgument,
    purge: Annotated[bool, typer.Option("--purge", help="Delete withdrawn footage first.")] = False,
) -> None:
    """Merge the index into one file, which opens faster; with --purge, delete withdrawn footage."""
    from datagen.maintain.purge import compact as merge
    from datagen.output.paths import Output
    from datagen.pipeline.run_record import require_plan
    from datagen.pipeline.summary import refresh

    require_plan(Output(out))
    answer(merge(Output(out), purge=purge))
    if purge:
        refresh(Output(out))
