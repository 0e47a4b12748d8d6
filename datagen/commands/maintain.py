"""Commands that change a finished data set: try failures again, withdraw people, merge and purge."""

from __future__ import annotations

from typing import Annotated

import typer

from datagen.commands.run import end
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
        list[str] | None, typer.Option("--reason", help="Only this reason; repeatable.")
    ] = None,
    runner: RunnerOption = Runner.ray,
    address: AddressOption = None,
    workers: WorkersOption = None,
    roots: RootsOption = None,
    max_failed: MaxFailedOption = 0.5,
) -> None:
    """Try failed sources and clips again, as new parts and units; what is published stays as it is.

    Failures that depend on the footage alone (too small, no face ...) are left out unless named.
    """
    from datagen.maintain.retry import retry as try_again
    from datagen.output.paths import Output
    from datagen.pipeline.engine import Engine

    engine = Engine(runner.value, address, workers)
    end(try_again(Output(out), engine, reason or [], roots or [], say), max_failed)


@commands.command(epilog="Example:  megactor-datagen remove out/set --subject id10042")
def remove(
    out: OutArgument,
    source: Annotated[
        str | None, typer.Option("--source", help="Source video, as `inspect` names it.")
    ] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Person id.")] = None,
    donor: Annotated[
        str | None, typer.Option("--donor", help="Portrait that lent its face or served as a style.")
    ] = None,
) -> None:
    """Withdraw a person (consent revoked): hidden from every reader at once, their face lent to nobody."""
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
    purge: Annotated[bool, typer.Option("--purge", help="Delete the bytes of withdrawn footage.")] = False,
) -> None:
    """Merge the index into one file for fast opening; optionally delete withdrawn bytes."""
    from datagen.maintain.purge import compact as merge
    from datagen.output.paths import Output
    from datagen.pipeline.run_record import require_plan
    from datagen.pipeline.summary import refresh

    require_plan(Output(out))
    answer(merge(Output(out), purge=purge))
    if purge:
        refresh(Output(out))
