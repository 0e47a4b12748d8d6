"""The stages of a run in order; each can be called alone and picks up where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from datagen.contents import content_hashes
from datagen.demo import write_demo
from datagen.errors import UserError
from datagen.faces import FaceAnalyser
from datagen.layout import Output, Pulse
from datagen.manifest import Manifest, input_manifest, load_manifest, root_of
from datagen.plan import Planned, extend_plan
from datagen.pool import freeze_pool
from datagen.recipe import load_recipe
from datagen.record import Inputs, expected_fingerprint, fingerprint, read_record, recorded_recipe, start
from datagen.runners import Report, Supervision, Task, run_local
from datagen.runners.progress import Progress
from datagen.sources import Source, list_sources
from datagen.tasks import curate_tasks, record_lost_task, synthesise_tasks, uncovered_parts
from datagen.worker import WorkerSettings

Say = Callable[[str], None]


@dataclass(frozen=True)
class Engine:
    """Who does the tasks."""

    runner: Literal["local", "ray"] = "ray"
    address: str | None = None
    workers: int | None = None


@dataclass(frozen=True)
class Footage:
    """Manifests and the roots their sources lie under."""

    roots: tuple[tuple[Manifest, Path], ...]
    recipe: dict[str, Any]

    def sources(self) -> list[tuple[Source, Manifest]]:
        """Every source video, each name once.

        Raises:
            UserError: there is none, or two roots hold sources of the same name.
        """
        found: list[tuple[Source, Manifest]] = []
        seen: dict[str, bytes] = {}
        for manifest, root in self.roots:
            for source in list_sources(root, manifest):
                if seen.setdefault(source.source, source.path) != source.path:
                    raise UserError(
                        f"two inputs hold a file named {source.source!r}; give their common parent folder instead",
                        code=2,
                    )
                found.append((source, manifest))
        if not found:
            where = ", ".join(str(root) for _, root in self.roots)
            raise UserError(f"no video found in {where}; check the path and the file endings")
        return found


def find_footage(
    manifest_name: str | None, inputs: list[Path], root: Path | None, accepted: list[str], media: Path
) -> Footage:
    """Where the footage of the command line lies.

    Args:
        media: folder where footage made by code goes; it is made now.

    Raises:
        UserError: bad usage, a path that does not exist, or terms that forbid the use.
    """
    if (manifest_name is None) == (not inputs):
        raise UserError("give either a MANIFEST or one or more --input paths", code=2)
    if manifest_name is None:
        for path in inputs:
            if not path.exists():
                raise UserError(f"--input {path} does not exist; check the path", code=2)
        return Footage(tuple((input_manifest(), path.absolute()) for path in inputs), {})
    manifest, folder = load_manifest(manifest_name)
    manifest.check_terms(accepted)
    if manifest.generate is not None:
        write_demo(media)
        place = media.absolute()
    else:
        place = root.absolute() if root is not None else root_of(manifest, folder)
    return Footage(((manifest, place),), manifest.recipe)


def gather(
    out: Output,
    base: dict[str, Any],
    recipe_file: Path | None,
    assignments: list[str],
    donors: Path | None,
    styles: Path | None,
) -> Inputs:
    """Recipe, donors and styles of a command, hashed. Options left out are those the output was started with."""
    record = read_record(out)
    if record is not None:
        given = recipe_file is not None or bool(assignments)
        recipe = load_recipe(recipe_file, assignments, base) if given or base else recorded_recipe(record)
        donors = donors or (Path(record["donors"]) if record["donors"] else None)
        styles = styles or (Path(record["styles"]) if record["styles"] else None)
    else:
        recipe = load_recipe(recipe_file, assignments, base)
    donors, styles = donors and donors.absolute(), styles and styles.absolute()
    return Inputs(recipe, content_hashes(recipe, donors, styles), donors, styles)


def plan(out: Output, footage: Footage, inputs: Inputs, say: Say) -> Planned:
    """Record the run and append new sources to the plan."""
    sources = footage.sources()
    out.create()
    out.clear_stale_tmp()
    for warning in start(out, inputs):
        say(f"warning: {warning}")
    planned = extend_plan(out, sources, inputs.recipe)
    for name in planned.changed[:5]:
        say(f"warning: {name} changed since it was planned; its clips stay as they are")
    return planned


def curate(
    out: Output, inputs: Inputs, engine: Engine, limit: int | None, *, retries_only: bool = False
) -> Progress:
    """Curate the parts that are not curated yet, and those `retry` asked for."""
    tasks, total = curate_tasks(out, limit)
    if retries_only:
        tasks = [task for task in tasks if "known" in task.payload]
    return _work(out, inputs, engine, "curate", "part", tasks, total - len(tasks), len(tasks))


def freeze(out: Output, inputs: Inputs) -> None:
    """Freeze a donor pool for the parts curated since the last one."""
    parts = uncovered_parts(out)
    if parts:
        freeze_pool(out, parts, inputs.donors, inputs.recipe, FaceAnalyser())


def synthesise(out: Output, inputs: Inputs, engine: Engine) -> Progress:
    """Make the units that are not published yet."""
    freeze(out, inputs)
    tasks, pending, total = synthesise_tasks(out, inputs.recipe)
    return _work(out, inputs, engine, "synthesise", "unit", tasks, total - pending, pending)


def resume(
    out: Output,
    recipe_file: Path | None,
    assignments: list[str],
    donors: Path | None,
    styles: Path | None,
    say: Say,
) -> Inputs:
    """Inputs of a planned output; options that are given must agree with those it was started with.

    Raises:
        UserError: nothing was planned there, or something changed.
    """
    require_plan(out)
    inputs = gather(out, {}, recipe_file, assignments, donors, styles)
    out.create()
    out.clear_stale_tmp()
    for warning in start(out, inputs):
        say(f"warning: {warning}")
    return inputs


def require_plan(out: Output) -> None:
    """Raise a `UserError` where nothing was planned."""
    if read_record(out) is None:
        raise UserError(f"{out.root} holds no data set; begin with `megactor-datagen run` or `plan`", code=2)


def _work(
    out: Output,
    inputs: Inputs,
    engine: Engine,
    stage: str,
    unit: str,
    tasks: Iterable[Task],
    done: int,
    pending: int,
) -> Progress:
    """Run tasks with progress; tasks that could not be done become failure rows."""
    with Progress(out, stage, done + pending, unit=unit, done=done) as progress:

        def on_report(task: Task, report: Report) -> None:
            if "reason" in report:
                record_lost_task(out, task, report)
            progress(task, report)

        if pending:
            settings = WorkerSettings(out.root.absolute(), inputs.recipe, inputs.hash, inputs.styles)
            supervision = Supervision(
                say=progress.say,
                on_wait=progress.waiting,
                pulse=Pulse(out.tmp.absolute()),
                logs=out.logs,
                fingerprint=partial(fingerprint, inputs.recipe.encode.ffmpeg),
                expected=expected_fingerprint(out, inputs),
            )
            if engine.runner == "local":
                run_local(settings, tasks, on_report, supervision=supervision)
            else:
                from datagen.runners.ray import run_ray  # a local run needs no Ray

                run_ray(
                    settings,
                    tasks,
                    on_report,
                    address=engine.address,
                    workers=engine.workers,
                    supervision=supervision,
                )
    out.clear_stale_tmp()
    return progress
