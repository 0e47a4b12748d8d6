"""The stages of a run in order; each can be called alone and picks up where it stopped.

Waves follow each other: a wave is curated, its groups, splits and donors are frozen, and its clips are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from datagen.common.errors import UserError
from datagen.donors.choose import choose_donors, measured_portraits, publish_pool
from datagen.faces import FaceAnalyser
from datagen.output.paths import Output, published_names
from datagen.output.publish import read_table
from datagen.output.store import Store
from datagen.output.temporary import Pulse
from datagen.output.tombstones import read_withdrawn
from datagen.pipeline.content_hashes import content_hashes
from datagen.pipeline.footage import Footage, Say
from datagen.pipeline.freeze import freeze_clips
from datagen.pipeline.pending import (
    Pending,
    curate_tasks,
    frozen_units,
    portrait_tasks,
    record_lost_task,
    synthesise_tasks,
)
from datagen.pipeline.progress import RunProgress
from datagen.pipeline.retries import plan_worn, read_retries
from datagen.pipeline.run_record import (
    RunInputs,
    expected_fingerprint,
    fingerprint,
    read_record,
    recorded_recipe,
    start,
)
from datagen.pipeline.worker import WorkerSettings
from datagen.plan.parts import Planned, extend_plan, read_plan
from datagen.plan.waves import Wave, cut_waves, read_waves
from datagen.recipe import load_recipe
from datagen.runners import Report, Supervision, Task, run_local
from datagen.shards.compact import merge
from datagen.shards.purge import obey
from datagen.sources.files import require_root
from datagen.sources.roots import move, read_roots, write_roots

MERGE_FROM = 100  # units of a wave; fewer index pieces open as fast as one file
OnLost = Callable[[Task, Report], None]


@dataclass(frozen=True)
class Engine:
    """Who does the tasks."""

    runner: Literal["local", "ray"] = "ray"
    address: str | None = None
    workers: int | None = None


def gather(
    out: Output,
    base: dict[str, Any],
    recipe_file: Path | None,
    assignments: list[str],
    donors: Path | None,
    styles: Path | None,
    say: Say | None = None,
) -> RunInputs:
    """Recipe, donors and styles of a command, hashed. Options left out are those the output was started with.

    Args:
        say: told of styles that are left out.
    """
    record = read_record(out)
    if record is not None:
        recipe = (
            load_recipe(None, assignments, recorded_recipe(record).model_dump(mode="json"))
            if recipe_file is None and not base
            else load_recipe(recipe_file, assignments, base)
        )
        donors = donors or (Path(record["donors"]) if record["donors"] else None)
        styles = styles or (Path(record["styles"]) if record["styles"] else None)
    else:
        recipe = load_recipe(recipe_file, assignments, base)
    donors, styles = donors and donors.absolute(), styles and styles.absolute()
    contents = content_hashes(recipe, donors, styles, say)
    if (
        record is not None
    ):  # a withdrawn portrait may be deleted from its folder, and the recipe stays the same
        portraits = read_withdrawn(Store.open(out.root)).portraits
        contents |= {key: sha256 for key, sha256 in record["contents"].items() if sha256 in portraits}
    return RunInputs(recipe, contents, donors, styles)


def plan(out: Output, footage: Footage, inputs: RunInputs, say: Say) -> Planned:
    """Record the run and its roots, and append new sources to the plan."""
    found, roots = footage.sources(out, say)
    out.create()
    out.clear_stale_tmp()
    for warning in start(out, inputs):
        say(f"warning: {warning}")
    write_roots(out, roots)
    planned = extend_plan(out, found, inputs.recipe)
    for name in planned.changed[:5]:
        say(
            f"warning: {name} changed since it was planned; clips of it that are not made yet will fail as `changed`"
        )
    if planned.withdrawn:
        say(f"{planned.withdrawn} sources are left out: their consent was withdrawn")
    return planned


def cut(out: Output, inputs: RunInputs, limit: int | None) -> list[Wave]:
    """All waves, after cutting the planned parts that none holds yet, as far as a limit allows.

    A limit counts sources that are not curated yet: those of open waves come first.
    """
    waves = read_waves(out)
    if limit is not None:
        done = published_names(out.clips)
        left = {part for wave in waves for part in wave.parts if part not in done}
        limit = max(0, limit - sum(part in left for part in read_plan(out, ["part"])["part"].to_pylist()))
    return cut_waves(out, read_plan(out, ["part"]), inputs.recipe.plan.sources_per_wave, limit)


def run(
    out: Output, inputs: RunInputs, engine: Engine, limit: int | None
) -> tuple[list[RunProgress], list[RunProgress]]:
    """Do wave after wave: curate, freeze, synthesise.

    Returns:
        Progress of curation and of synthesis.
    """
    waves = cut(out, inputs, limit)
    curated, made = [], []
    for wave in waves:
        curated.append(curate(out, inputs, engine, [wave], limit))
        if not wave.is_curated(published_names(out.clips)):
            break
        made.append(synthesise(out, inputs, engine))
    return curated, made or [synthesise(out, inputs, engine)]


def curate(
    out: Output, inputs: RunInputs, engine: Engine, waves: list[Wave], limit: int | None = None
) -> RunProgress:
    """Curate the parts of some waves that are not curated yet, and those `retry` asked for."""
    pending = curate_tasks(out, inputs.recipe, waves, limit)
    return _work(out, inputs, engine, "curate", "part", pending)


def freeze(out: Output, inputs: RunInputs, engine: Engine) -> list[Wave]:
    """Freeze the waves that are curated, in order, and then the parts that were curated again.

    Returns:
        Waves that wait for parts to be curated.
    """
    waves = read_waves(out)
    curated = published_names(out.clips)
    waiting = list(waves)
    for wave in waves:
        if not wave.is_curated(curated):
            break
        waiting.remove(wave)
        if wave.name not in published_names(out.waves) or wave.name not in published_names(out.donors):
            _freeze_wave(out, inputs, engine, wave)
    for retry in read_retries(out):
        ready = (
            retry.parts and curated.issuperset(retry.pieces) and retry.name not in published_names(out.waves)
        )
        if ready and not any(wave.holds(piece) for wave in waiting for piece in retry.pieces):
            freeze_clips(out, retry.name, retry.pieces, inputs.recipe)
            obey(out, ("plan/waves", retry.name))
    return waiting


def synthesise(out: Output, inputs: RunInputs, engine: Engine) -> RunProgress:
    """Make the units that are not published yet, as far as waves are curated."""
    freeze(out, inputs, engine)
    plan_worn(out)
    progress = _work(out, inputs, engine, "synthesise", "unit", synthesise_tasks(out, inputs.recipe))
    close_waves(out)
    return progress


def close_waves(out: Output) -> None:
    """Merge the index pieces of every large wave whose units are all published, so that readers open one file."""
    done, merged = published_names(out.index), published_names(out.compacted)
    for name in sorted(published_names(out.waves) - merged):
        units = list(frozen_units(out, name, ["unit"]))
        if len(units) >= MERGE_FROM and "index" not in merged and done.issuperset(units):
            merge(out, name, units)


def resume(
    out: Output,
    recipe_file: Path | None,
    assignments: list[str],
    donors: Path | None,
    styles: Path | None,
    roots: list[str],
    say: Say,
) -> RunInputs:
    """Inputs of a planned output; options that are given must agree with those it was started with.

    Raises:
        UserError: nothing was planned there, something changed, or a root is not there.
    """
    require_plan(out)
    inputs = gather(out, {}, recipe_file, assignments, donors, styles, say)
    out.create()
    out.clear_stale_tmp()
    for warning in start(out, inputs):
        say(f"warning: {warning}")
    if roots:
        write_roots(out, move(read_roots(out), roots))
    return inputs


def require_plan(out: Output) -> None:
    """Raise a `UserError` where nothing was planned."""
    if read_record(out) is None:
        raise UserError(f"{out.root} holds no data set; begin with `megactor-datagen run` or `plan`", code=2)


def work(
    out: Output,
    inputs: RunInputs,
    engine: Engine,
    stage: str,
    unit: str,
    pending: Pending,
    on_lost: OnLost,
) -> RunProgress:
    """Run tasks with progress.

    Args:
        out: the output.
        inputs: what it is made with.
        engine: who does it.
        stage: name for the progress.
        unit: what a task is called.
        pending: the tasks.
        on_lost: called for tasks that could not be done.

    Raises:
        UserError: a root of the sources is not there.
    """
    done = pending.total - pending.count
    with RunProgress(out, stage, pending.total, unit=unit, done=done) as progress:

        def on_report(task: Task, report: Report) -> None:
            if "reason" in report:
                on_lost(task, report)
            progress(task, report)

        if pending.count:
            roots = read_roots(out)
            for path in roots.values():
                require_root(path)
            settings = WorkerSettings(out.root.absolute(), inputs.recipe, inputs.hash, inputs.styles, roots)
            supervision = Supervision(
                say=progress.say,
                on_wait=progress.waiting,
                heartbeat=Pulse(out.tmp.absolute(), tuple(roots.values())),
                logs=out.logs,
                fingerprint=partial(fingerprint, inputs.recipe.encode.ffmpeg),
                expected=expected_fingerprint(out, inputs),
            )
            _run(engine, settings, pending.tasks, on_report, supervision)
    out.clear_stale_tmp()
    return progress


def _freeze_wave(out: Output, inputs: RunInputs, engine: Engine, wave: Wave) -> None:
    recipe = inputs.recipe
    if wave.name not in published_names(out.waves):
        freeze_clips(out, wave.name, wave.parts, recipe)
    chosen: list[dict[str, Any]] = []
    if recipe.needs_portraits:
        portraits = measured_portraits(inputs.donors, recipe, FaceAnalyser())
        from_set = inputs.donors is None and recipe.donors.from_set
        chosen = choose_donors(out, wave.name, wave.parts, recipe, portraits, from_set=from_set)
    pending = portrait_tasks(out, wave.name, chosen, recipe)
    if pending.total:
        _work(out, inputs, engine, "donors", "part", pending)
    made = {
        row["name"]: {name: value for name, value in row.items() if value is not None}
        for path in sorted(out.portraits.glob(f"{wave.name}-*.parquet"))
        for row in read_table(path).to_pylist()
    }
    publish_pool(out, wave.name, chosen, made)
    obey(out, ("plan/waves", wave.name))


def _work(
    out: Output, inputs: RunInputs, engine: Engine, stage: str, unit: str, pending: Pending
) -> RunProgress:
    """Run tasks; those that could not be done become failure rows."""

    def on_lost(task: Task, report: Report) -> None:
        record_lost_task(out, task, report)

    return work(out, inputs, engine, stage, unit, pending, on_lost)


def _run(
    engine: Engine,
    settings: WorkerSettings,
    tasks: Iterable[Task],
    on_report: Callable[[Task, Report], None],
    supervision: Supervision,
) -> None:
    if engine.runner == "local":
        run_local(settings, tasks, on_report, supervision=supervision)
        return
    from datagen.runners.ray import run_ray  # a local run needs no Ray

    run_ray(
        settings,
        tasks,
        on_report,
        address=engine.address,
        workers=engine.workers,
        supervision=supervision,
    )
