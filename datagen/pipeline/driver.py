"""Last status of the driver of a run, in `logs/status.json`, and whether the driver still runs."""

from __future__ import annotations

import time

from pydantic import BaseModel, ValidationError
from tqdm import tqdm

from datagen.common.owner import is_alive
from datagen.output.paths import Output

SILENT_S = 180.0  # a driver on another host counts as dead if its status file is older
NEXT_STAGE_S = 600.0  # if no stage follows in this time, the process is taken to do something else
LONG_S = 120.0  # `status` names tasks that take longer


class _Worker(BaseModel):
    """The current task of a worker; see `datagen.runners.WorkerStatus`."""

    worker: str
    task: str
    busy_s: float
    silent_s: float


class _RecordedDriver(BaseModel):
    """Contents of `logs/status.json`."""

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


def driver_lines(out: Output) -> list[str]:
    """Lines about the driver for `status`; empty if there was no driver yet."""
    driver = _read(out)
    if driver is None:
        damaged = out.status_json.exists()
        return [
            f"  driver      unknown: {out.status_json} is damaged; the next run writes it again"
        ] * damaged
    state, left = driver.state, ""
    if state == "running":
        if not _is_alive(out, driver):
            state = "stopped unexpectedly (killed?):"
        elif driver.eta_s:
            left = f", {tqdm.format_interval(driver.eta_s)} left"
    lines = [
        f"  driver      {state} {driver.stage}: {driver.done}/{driver.total} {driver.unit}s, "
        f"{driver.frames_per_s} frames/s{left} (at {driver.updated})"
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


def driver_ended(out: Output) -> bool:
    """Whether the driver is finished. While its process runs, another stage may follow."""
    driver = _read(out)
    if driver is None or driver.state in ("failed", "interrupted"):
        return True
    if driver.state == "finished":
        last = driver.stage == "synthesise" or time.time() - out.status_json.stat().st_mtime > NEXT_STAGE_S
        return last or not _is_alive(out, driver)
    return not _is_alive(out, driver)


def _is_alive(out: Output, driver: _RecordedDriver) -> bool:
    """Whether the driver runs: checked on this host, or by the age of its status file on another."""
    return is_alive(driver.owner, out.status_json, SILENT_S)


def _read(out: Output) -> _RecordedDriver | None:
    """Last status of the driver; None if there is no status file or it is damaged."""
    try:
        return _RecordedDriver.model_validate_json(out.status_json.read_bytes())
    except (OSError, ValidationError):
        return None
