"""Run tasks with the chosen runner, show progress, and write failure rows for tasks that could not be done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import pyarrow as pa

from datagen.common.errors import Refusal
from datagen.output.failures import failure_row, publish_failures
from datagen.output.paths import Output
from datagen.output.publish import write_table
from datagen.output.schema import CLIPS, DONORS, INDEX, schema_of
from datagen.output.temporary import Heartbeat
from datagen.pipeline.pending import Pending
from datagen.pipeline.progress import OnProgress, RunProgress
from datagen.pipeline.run_record import RunInputs, expected_fingerprint, fingerprint
from datagen.pipeline.worker import WorkerSettings
from datagen.plan.tasks import CurateTask, PortraitTask, SynthesiseTask
from datagen.runners.local import run_local
from datagen.runners.supervise import Supervision
from datagen.runners.tasks import Report, Task
from datagen.shards.purge import apply_withdrawals
from datagen.sources.files import require_root
from datagen.sources.roots import read_roots

logger = logging.getLogger(__name__)

OnLost = Callable[[Task, Report], None]
"""Called with a task that could not be done, and its report with `reason` and `message`."""


@dataclass(frozen=True)
class Engine:
    """What runs the tasks.

    Attributes:
        runner: `local` for one child process, `ray` for Ray actors.
        address: address of a Ray cluster, or `auto`; None starts Ray on this machine.
        workers: number of worker processes; None for one per CPU.
        on_progress: called at every change of the progress, instead of lines or bars on stderr.
    """

    runner: Literal["local", "ray"] = "ray"
    address: str | None = None
    workers: int | None = None
    on_progress: OnProgress | None = None


def do_tasks(
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
        inputs: recipe, donors and styles of the output.
        engine: what runs the tasks.
        stage: name of the stage in the progress.
        unit: word for one task in the progress.
        pending: the tasks.
        on_lost: called for tasks that could not be done.

    Raises:
        UserError: a root of the sources is missing.
    """
    done = pending.total - pending.count
    with RunProgress(
        out, stage, pending.total, unit=unit, done=done, on_progress=engine.on_progress
    ) as progress:

        def on_report(task: Task, report: Report) -> None:
            if "reason" in report:
                logger.warning("%s could not be done: %s", task.key, report["message"])
                on_lost(task, report)
            else:
                logger.debug("%s is done: %s", task.key, report)
            progress(task, report)

        logger.info("%s: %d of %d %ss to do, by %s", stage, pending.count, pending.total, unit, engine.runner)
        if pending.count:
            roots = read_roots(out)
            for path in roots.values():
                require_root(path)
            settings = WorkerSettings(out.root.absolute(), inputs.recipe, inputs.hash, inputs.styles, roots)
            supervision = Supervision(
                say=progress.say,
                on_wait=progress.waiting,
                heartbeat=Heartbeat(out.tmp.absolute(), tuple(roots.values())),
                logs=out.logs,
                fingerprint=partial(fingerprint, inputs.recipe.encode.ffmpeg),
                expected=expected_fingerprint(out, inputs),
            )
            _run(engine, settings, pending.tasks, on_report, supervision)
    out.clear_stale_tmp()
    return progress


def do_or_record(
    out: Output, inputs: RunInputs, engine: Engine, stage: str, unit: str, pending: Pending
) -> RunProgress:
    """Run tasks; write failure rows for tasks that could not be done."""

    def on_lost(task: Task, report: Report) -> None:
        record_lost_task(out, task, report)

    return do_tasks(out, inputs, engine, stage, unit, pending, on_lost)


def record_lost_task(out: Output, task: Task, report: Report) -> None:
    """Publish failure rows for all items of a task that could not be done, so that nothing is lost silently."""
    refusal = Refusal(report["reason"], report["message"], "megactor-datagen retry")
    match task:
        case PortraitTask():
            lost = {"image": None, "reason": refusal.reason, "message": refusal.message}
            rows = [{"name": clip_id, **lost} for clip_id in task.items]
            table = pa.Table.from_pylist(rows, schema=schema_of(DONORS))
            write_table(table, out.portraits / f"{task.name}.parquet", out.tmp)
            return
        case CurateTask():
            folder, schema = out.clips, schema_of(CLIPS)
            rows = [
                failure_row(task.part, row["source"], refusal, stage=task.kind, attempt=task.attempt)
                for row in task.rows
            ]
        case SynthesiseTask():
            folder, schema = out.index, schema_of(INDEX)
            rows = [
                failure_row(
                    task.part,
                    row["source"],
                    refusal,
                    stage=task.kind,
                    unit=task.name,
                    clip_id=row["clip_id"],
                    attempt=task.attempt,
                )
                for row in task.clips
            ]
        case _:
            raise TypeError(f"no stage does {type(task).__name__}")
    publish_failures(out, task.name, rows)
    write_table(schema.empty_table(), folder / f"{task.name}.parquet", out.tmp)
    apply_withdrawals(out, ("failures", task.name))


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
