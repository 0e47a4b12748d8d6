"""How far a run is, from what is published and the status file of the driver."""

from __future__ import annotations

import time
from collections.abc import Callable

from datagen.driver import driver_ended, driver_lines
from datagen.inspecting import failures_by_reason
from datagen.layout import Output
from datagen.plan import read_plan
from datagen.recipe import Recipe
from datagen.record import read_record, recorded_recipe
from datagen.run import require_plan
from datagen.shards.store import Store
from datagen.tasks import curate_tasks, synthesise_tasks

WATCH_S = 2.0


def describe(out: Output) -> str:
    """Parts, units, clips, failures, and what the driver said last."""
    require_plan(out)
    record = read_record(out)
    recipe = recorded_recipe(record) if record else Recipe()
    pending, parts = curate_tasks(out, None)
    _, units_pending, units = synthesise_tasks(out, recipe)
    failed = failures_by_reason(Store.open(out.root))
    lines = [
        f"{out.root}",
        f"  plan        {read_plan(out).num_rows} sources in {parts} parts",
        f"  curate      {parts - len(pending)} of {parts} parts",
        f"  synthesise  {units - units_pending} of {units} units"
        + (" so far; more follow as parts are curated" if pending else ""),
        f"  failures    {', '.join(f'{reason} {count}' for reason, count in failed.items()) or 'none'}",
    ]
    lines += driver_lines(out)
    if pending or units_pending:
        lines.append("  next        run the same command again to go on")
    return "\n".join(lines)


def watch_status(out: Output, show: Callable[[str], object]) -> None:
    """Show the status whenever it changes, until the driver is done, has stopped or is dead."""
    last = ""
    while True:
        ended = driver_ended(out)  # asked first, so that the last words are shown
        text = describe(out)
        if text != last:
            show(text)
            last = text
        if ended:
            return
        time.sleep(WATCH_S)
