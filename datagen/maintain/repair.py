"""Make damaged clip tables and units again, with the same names and bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from datagen.common.errors import UserError
from datagen.inspect.verify import Findings
from datagen.output.failures import read_failures
from datagen.output.paths import Output, published_names
from datagen.output.publish import read_table
from datagen.pipeline.engine import Engine, do_tasks
from datagen.pipeline.pending import Pending, curate_tasks, synthesise_tasks
from datagen.pipeline.run_record import RunInputs
from datagen.plan.tasks import CurateTask, SynthesiseTask
from datagen.plan.waves import read_waves
from datagen.runners import Report, Task


def repair(out: Output, inputs: RunInputs, engine: Engine, found: Findings) -> list[str]:
    """Make again what `verify` found damaged. A file that cannot be made again completely stays as it is.

    Returns:
        One line for each clip table or unit that could not be repaired.
    """
    problems: list[str] = []
    for name in found.damaged_merged:
        (out.compacted / name).unlink(missing_ok=True)

    def on_lost(task: Task, report: Report) -> None:
        problems.append(f"{task.name} cannot be repaired: {report['message']}")

    if found.damaged_pieces:
        parts = list(_curate_again(out, inputs, found.damaged_pieces))
        do_tasks(out, inputs, engine, "repair", "part", Pending(parts, len(parts), len(parts)), on_lost)
    if found.damaged_units:
        units = list(_synthesise_again(out, inputs, found.damaged_units))
        do_tasks(out, inputs, engine, "repair", "unit", Pending(units, len(units), len(units)), on_lost)
    return problems


def _curate_again(out: Output, inputs: RunInputs, damaged: set[str]) -> Iterator[CurateTask]:
    """Tasks that make damaged clip tables again."""
    frozen = _frozen_clips(out)
    pending = curate_tasks(out, inputs.recipe, read_waves(out), only=damaged)
    for task in pending.tasks:
        yield replace(task, replaces=frozenset(frozen.get(task.name, ())))


def _synthesise_again(out: Output, inputs: RunInputs, damaged: set[str]) -> Iterator[SynthesiseTask]:
    """Tasks that make damaged units again, without clips that are now in another unit."""
    units_of_clip: dict[str, set[str]] = {}
    unreadable: set[str] = set()
    for unit in published_names(out.index):
        try:
            for clip in read_table(out.index / f"{unit}.parquet", ["clip_id"])["clip_id"].to_pylist():
                units_of_clip.setdefault(clip, set()).add(unit)
        except UserError:
            unreadable.add(unit)
    failed = {
        row["clip_id"] for row in read_failures(out.root, lenient=True).to_pylist() if row["stream"] is None
    }
    for task in synthesise_tasks(out, inputs.recipe, only=damaged).tasks:
        clips = [row for row in task.clips if units_of_clip.get(row["clip_id"], set()) <= {task.name}]
        ids = {row["clip_id"] for row in clips}
        before = (
            ids - failed
            if task.name in unreadable
            else {c for c in ids if task.name in units_of_clip.get(c, ())}
        )
        yield replace(task, clips=clips, replaces=frozenset(before))


def _frozen_clips(out: Output) -> dict[str, set[str]]:
    """Clip table -> ids of its frozen clips."""
    found: dict[str, set[str]] = {}
    for name in published_names(out.waves):
        for row in read_table(out.waves / f"{name}.parquet", ["piece", "clip_id"]).to_pylist():
            found.setdefault(row["piece"], set()).add(row["clip_id"])
    return found
