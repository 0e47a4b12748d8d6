"""Progress of a run, from the published files and the status file of the driver."""

from __future__ import annotations

import time
from collections.abc import Callable

from datagen.output.failures import failures_by_reason
from datagen.output.paths import Output
from datagen.output.store import Store
from datagen.pipeline.driver import driver_ended, driver_lines
from datagen.pipeline.pending import curate_tasks, synthesise_tasks
from datagen.pipeline.run_record import read_record, recorded_recipe, require_plan
from datagen.plan.parts import read_plan
from datagen.plan.waves import read_waves
from datagen.recipe import Recipe

WATCH_S = 2.0


def describe(out: Output) -> str:
    """Text with parts, units, failures and the last status of the driver."""
    require_plan(out)
    record = read_record(out)
    recipe = recorded_recipe(record) if record else Recipe()
    plan = read_plan(out, ["part"])["part"].to_pylist()
    waves = read_waves(out)
    curation = curate_tasks(out, recipe, waves)
    in_no_wave = len(set(plan)) - sum(len(set(wave.parts) & set(plan)) for wave in waves)
    synthesis = synthesise_tasks(out, recipe)
    waiting = curation.count + in_no_wave
    failed = failures_by_reason(Store.open(out.root))
    lines = [
        f"{out.root}",
        f"  plan        {len(plan)} sources in {len(set(plan))} parts",
        f"  curate      {curation.total - curation.count} of {curation.total + in_no_wave} parts",
        f"  synthesise  {synthesis.total - synthesis.count} of {synthesis.total} units"
        + (" so far; more follow when all parts of a wave are curated" if waiting else ""),
        f"  failures    {', '.join(f'{reason} {count}' for reason, count in failed.items()) or 'none'}",
    ]
    lines += driver_lines(out)
    if waiting or synthesis.count:
        lines.append("  next        run the same command again to continue")
    return "\n".join(lines)


def watch_status(out: Output, show: Callable[[str], object]) -> None:
    """Show the status whenever it changes, until the driver has finished, stopped or died."""
    last = ""
    while True:
        ended = driver_ended(out)  # checked first, so that the final status is shown
        text = describe(out)
        if text != last:
            show(text)
            last = text
        if ended:
            return
        time.sleep(WATCH_S)
