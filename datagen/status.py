"""How far a run is, from what is published and the status file of the driver."""

from __future__ import annotations

import time
from collections.abc import Callable

from pydantic import BaseModel, ValidationError
from tqdm import tqdm

from datagen.inspecting import failures_by_reason
from datagen.layout import Output, is_alive
from datagen.plan import read_plan
from datagen.recipe import Recipe
from datagen.record import read_record, recorded_recipe
from datagen.run import require_plan
from datagen.shards.store import Store
from datagen.tasks import curate_tasks, synthesise_tasks

WATCH_S = 2.0
SILENT_S = 180.0  # a driver on another host that has not renewed its status file for so long is dead
LONG_S = 120.0  # a task that takes longer is named


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
    lines += _driver_lines(out)
    if pending or units_pending:
        lines.append("  next        run the same command again to go on")
    return "\n".join(lines)


def watch_status(out: Output, show: Callable[[str], object]) -> None:
    """Show the status whenever it changes, until the driver is done, has stopped or is dead."""
    last = ""
    while True:
        ended = _ended(out)  # asked first, so that the last words are shown
        text = describe(out)
        if text != last:
            show(text)
            last = text
        if ended:
            return
        time.sleep(WATCH_S)


class _Worker(BaseModel):
    """What one worker is busy with; see `datagen.runners.Doing`."""

    worker: str
    task: str
    busy_s: float
    silent_s: float


class _Driver(BaseModel):
    """What the driver said last, in `logs/status.json`."""

    state: str
    stage: str
    unit: str
    done: int
    total: int
    frames_per_s: float
    updated: str
    eta_s: float | None = None
    owner: str = ""
    longest: _Worker | None = None
    silent: tuple[_Worker, ...] = ()


def _driver_lines(out: Output) -> list[str]:
    driver = _read(out)
    if driver is None:
        damaged = out.status_json.exists()
        return [
            f"  driver      unknown: {out.status_json} is damaged; the next run writes it again"
        ] * damaged
    state, left = driver.state, ""
    if state == "running":
        if not _is_alive(out, driver):
            state = "stopped without a word (killed?):"
        elif driver.eta_s:
            left = f", {tqdm.format_interval(driver.eta_s)} left"
    lines = [
        f"  driver      {state} {driver.stage}: {driver.done}/{driver.total} {driver.unit}s, "
        f"{driver.frames_per_s} frames/s{left} (said at {driver.updated})"
    ]
    if state == "running":
        if driver.longest is not None and driver.longest.busy_s > LONG_S:
            lines.append(
                f"  longest     {driver.longest.task} for {driver.longest.busy_s:.0f} s, {driver.longest.worker}"
            )
        lines += [
            f"  silent      {worker.worker} has not answered for {worker.silent_s:.0f} s, its task is {worker.task}"
            for worker in driver.silent[:5]
        ]
    return lines


def _ended(out: Output) -> bool:
    """Whether nothing more will come of the driver; another stage may follow while it lives."""
    driver = _read(out)
    if driver is None or driver.state in ("failed", "interrupted"):
        return True
    if driver.state == "finished" and driver.stage == "synthesise":
        return True
    return not _is_alive(out, driver)


def _is_alive(out: Output, driver: _Driver) -> bool:
    """Whether the driver runs: asked of this host, or told by a status file that is renewed."""
    return is_alive(driver.owner, out.status_json, SILENT_S)


def _read(out: Output) -> _Driver | None:
    """What the driver said last; None where it never ran, or the file is damaged."""
    try:
        return _Driver.model_validate_json(out.status_json.read_bytes())
    except (OSError, ValidationError):
        return None
