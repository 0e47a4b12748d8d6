"""A worker process: it holds the models, does tasks and publishes their results."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from datagen.common.errors import Refusal
from datagen.curate.portrait import cut_portrait
from datagen.curate.source import curate_source
from datagen.donors.choose import blank_withdrawn
from datagen.output.failures import publish_failures
from datagen.output.paths import Output
from datagen.output.publish import Put, exchange, publish, write_table
from datagen.output.schema import CLIPS, DONORS, schema_of
from datagen.output.temporary import temporary
from datagen.plan.tasks import CurateTask, PortraitTask, StageTask, SynthesiseTask
from datagen.recipe import Recipe
from datagen.runners import Task
from datagen.runners.isolate import Crashed, TimedOut, call_isolated
from datagen.runners.tasks import Report
from datagen.shards.purge import apply_withdrawals
from datagen.sources.files import SourceFiles, require_root
from datagen.sources.roots import Roots
from datagen.synthesise.backends import Backends
from datagen.synthesise.stylise.styles import load_styles
from datagen.synthesise.unit import make_clips, synthesise_unit

Why = tuple[str, str]
"""Reason and message of a failure row."""

_StageTask = TypeVar("_StageTask", CurateTask, PortraitTask, SynthesiseTask)


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of the worker processes: small, picklable, and the same for all of them."""

    out: Path
    recipe: Recipe
    recipe_hash: str
    styles: Path | None
    roots: Roots

    def __call__(self) -> Worker:
        """Make the worker; runners call this once in every process."""
        return Worker(self)


class Worker:
    """Runs tasks one after another. Models are loaded when the first task needs them.

    Raises:
        UserError: a root of the sources is missing; a worker that cannot see the footage must not take tasks.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        import cv2  # after the runner has set the thread variables of this process

        cv2.setNumThreads(1)
        os.environ["OMP_NUM_THREADS"] = "1"
        self.settings = settings
        self.out = Output(settings.out)
        for root in settings.roots.values():
            require_root(root)
        self.files = SourceFiles(settings.roots)

    @cached_property
    def backends(self) -> Backends:
        """Models and styles."""
        return Backends.load(self.settings.recipe, load_styles(self.settings.styles, self.settings.recipe))

    def __call__(self, task: Task) -> Report:
        """Do a task and publish its results; it may be done twice.

        Returns:
            Counters: clips, clips_failed, frames, seconds per operation ...
        """
        match task:
            case CurateTask():
                return self._curate(self._isolated(task))
            case PortraitTask():
                return self._portraits(self._isolated(task))
            case SynthesiseTask():
                return synthesise_unit(
                    self.out, self._isolated(task), self.settings.recipe_hash, self.backends, self.files
                )
        raise TypeError(f"no stage does {type(task).__name__}")

    def try_out(self, task: StageTask) -> None:
        """Do a task without keeping its results."""
        with self._scratch("alone") as scratch:
            match task:
                case CurateTask():
                    for row in task.rows:
                        curate_source(
                            row, self.settings.recipe, self.backends.analyser, scratch, {}, self.files
                        )
                case PortraitTask():
                    for cut in task.cuts:
                        cut_portrait(cut, self.backends.analyser, self.files, scratch, {})
                case SynthesiseTask():
                    for _ in make_clips(self.out, task, self.backends, self.files, scratch):
                        pass

    def _curate(self, task: CurateTask) -> Report:
        clips: list[dict[str, Any]] = []
        failures: list[dict[str, Any]] = []
        with self._scratch(task.name) as scratch:
            for row in task.rows:
                made, failed = curate_source(
                    row, self.settings.recipe, self.backends.analyser, scratch, task.refused, self.files
                )
                clips.extend(clip for clip in made if clip["clip_id"] not in task.known)
                failures.extend({**row, "attempt": task.attempt} for row in failed)
        clips.sort(key=lambda clip: str(clip["clip_id"]))
        put: Put = publish
        if task.replaces is not None:
            if lost := task.replaces - {clip["clip_id"] for clip in clips}:
                message = f"{task.name} stays as it is: {min(lost)} is not found in its source again"
                raise Refusal("damaged", message)
            put = exchange
        publish_failures(self.out, task.name, failures, put)
        table = pa.Table.from_pylist(clips, schema=schema_of(CLIPS))
        write_table(table, self.out.clips / f"{task.name}.parquet", self.out.tmp, put)
        apply_withdrawals(self.out, ("clips", task.name), ("failures", task.name))
        return {
            "sources": len(task.rows),
            "sources_failed": len({row["source"] for row in failures} - {clip["source"] for clip in clips}),
            "clips": len(clips),
            "failed": len(failures),
            "frames": sum(clip["frames"] for clip in clips),
        }

    def _portraits(self, task: PortraitTask) -> Report:
        with self._scratch(task.name) as scratch:
            rows = [
                cut_portrait(cut, self.backends.analyser, self.files, scratch, task.refused)
                for cut in task.cuts
            ]
        table = pa.Table.from_pylist(rows, schema=schema_of(DONORS))
        write_table(table, self.out.portraits / f"{task.name}.parquet", self.out.tmp)
        blank_withdrawn(self.out, self.out.portraits, task.name)
        return {"portraits": len(rows)}

    @contextmanager
    def _scratch(self, name: str) -> Iterator[Path]:
        """A temporary folder, deleted after the block."""
        folder = temporary(self.out.tmp, name)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _isolated(self, task: _StageTask) -> _StageTask:
        """The task; if it must be isolated, items that kill their process or make it hang are marked as refused.

        They are found by bisection, in temporary processes. A group of items may take its share of the task's time
        limit, but at least `limits.task_s`.
        """
        if not task.isolate:
            return task

        def crash(group: list[str]) -> Why | None:
            least_s, share = self.settings.recipe.limits.task_s, len(group) / len(task.items)
            limit_s = None if task.limit_s is None else max(least_s, task.limit_s * share)
            try:
                call_isolated(try_group, self.settings, task.only(group), timeout_s=limit_s)
            except Crashed as crashed:
                return "timeout" if isinstance(crashed, TimedOut) else "crashed", str(crashed)
            return None

        return replace(task, refused={**task.refused, **find_crashing_items(task.items, crash)})


def find_crashing_items(keys: list[str], crash: Callable[[list[str]], Why | None]) -> dict[str, Why]:
    """Keys whose work kills a process or makes it hang, with the reason.

    Args:
        keys: keys of the items.
        crash: tries a group of items; returns reason and message of a crash, None if there was none.
    """
    why = crash(keys) if keys else None
    if why is None:
        return {}
    if len(keys) == 1:
        return {keys[0]: why}
    half = len(keys) // 2
    return find_crashing_items(keys[:half], crash) | find_crashing_items(keys[half:], crash)


def try_group(settings: WorkerSettings, task: StageTask) -> None:
    """Do some items of a task in this temporary process, without keeping the results."""
    settings().try_out(task)
