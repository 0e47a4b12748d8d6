"""What one worker process does: holds the models, takes tasks, publishes their results."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

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
from datagen.recipe import Recipe
from datagen.runners import Task
from datagen.runners.isolate import Crashed, TimedOut, call_isolated
from datagen.shards.purge import obey
from datagen.sources.files import SourceFiles, require_root
from datagen.sources.roots import Roots
from datagen.synthesise.backends import Backends
from datagen.synthesise.stylise.styles import load_styles
from datagen.synthesise.unit import make_clips, synthesise_unit

ITEMS = {"curate": "rows", "portrait": "cuts", "synthesise": "clips"}
"""Key of a task's payload under which its items lie, each of which may fail alone."""

Why = tuple[str, str]
"""Reason and message of a failure row."""


@dataclass(frozen=True)
class WorkerSettings:
    """Everything a worker process needs; small, picklable, the same for all."""

    out: Path
    recipe: Recipe
    recipe_hash: str
    styles: Path | None
    roots: Roots

    def __call__(self) -> Worker:
        """The factory that runners call once in every process."""
        return Worker(self)


class Worker:
    """Runs tasks one after another. Models are loaded when the first task needs them.

    Raises:
        UserError: a root of the sources is not there: a worker that cannot see the footage must not take tasks.
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

    def __call__(self, task: Task) -> dict[str, Any]:
        """Do a task and publish what came out; doing it again is harmless.

        Returns:
            Counters: clips, clips_failed, frames, seconds per operation ...
        """
        payload = dict(task.payload)
        if task.isolate:
            payload["refused"] = {**payload.get("refused", {}), **self._crashing_items(task)}
        match task.kind:
            case "curate":
                return self._curate(payload)
            case "portrait":
                return self._portraits(task.name, payload)
            case _:
                return synthesise_unit(
                    self.out, payload, self.settings.recipe_hash, self.backends, self.files
                )

    def _curate(self, payload: dict[str, Any]) -> dict[str, Any]:
        clips: list[dict[str, Any]] = []
        failures: list[dict[str, Any]] = []
        piece = payload["piece"]
        scratch = temporary(self.out.tmp, piece)
        scratch.mkdir()
        try:
            for row in payload["rows"]:
                made, failed = curate_source(
                    row, self.settings.recipe, self.backends.analyser, scratch, payload["refused"], self.files
                )
                clips.extend(made)
                failures.extend(failed)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        known = set(payload["known"])
        clips = sorted(
            (clip for clip in clips if clip["clip_id"] not in known), key=lambda clip: str(clip["clip_id"])
        )
        for row in failures:
            row["attempt"] = payload["attempt"]
        put: Put = publish
        if "replaces" in payload:
            if lost := set(payload["replaces"]) - {clip["clip_id"] for clip in clips}:
                raise Refusal(
                    "damaged", f"{piece} stays as it is: {min(lost)} is not found in its source again"
                )
            put = exchange
        publish_failures(self.out, piece, failures, put)
        table = pa.Table.from_pylist(clips, schema=schema_of(CLIPS))
        write_table(table, self.out.clips / f"{piece}.parquet", self.out.tmp, put)
        obey(self.out, ("clips", piece), ("failures", piece))
        return {
            "sources": len(payload["rows"]),
            "sources_failed": len({row["source"] for row in failures} - {clip["source"] for clip in clips}),
            "clips": len(clips),
            "failed": len(failures),
            "frames": sum(clip["frames"] for clip in clips),
        }

    def _portraits(self, name: str, payload: dict[str, Any]) -> dict[str, Any]:
        refused = payload.get("refused", {})
        scratch = temporary(self.out.tmp, name)
        scratch.mkdir()
        try:
            rows = [
                cut_portrait(cut, self.backends.analyser, self.files, scratch, refused)
                for cut in payload["cuts"]
            ]
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        table = pa.Table.from_pylist(rows, schema=schema_of(DONORS))
        write_table(table, self.out.portraits / f"{name}.parquet", self.out.tmp)
        blank_withdrawn(self.out, self.out.portraits, name)
        return {"portraits": len(rows)}

    def _crashing_items(self, task: Task) -> dict[str, Why]:
        """Items of a task that kill or stall their process, each found by halving in throw-away processes.

        A group of items may take its share of the task's limit, but never less than `limits.task_s`.
        """
        keys = [_key(task.kind, item) for item in task.payload[ITEMS[task.kind]]]

        def dies(group: list[str]) -> Why | None:
            least_s, share = self.settings.recipe.limits.task_s, len(group) / len(keys)
            limit_s = None if task.limit_s is None else max(least_s, task.limit_s * share)
            try:
                call_isolated(try_alone, self.settings, _part(task, group), timeout_s=limit_s)
            except Crashed as crash:
                return "timeout" if isinstance(crash, TimedOut) else "crashed", str(crash)
            return None

        return find_crashing_items(keys, dies)


def find_crashing_items(keys: list[str], dies: Callable[[list[str]], Why | None]) -> dict[str, Why]:
    """Keys whose work kills or stalls a process, with why; `dies` says it of a group."""
    why = dies(keys) if keys else None
    if why is None:
        return {}
    if len(keys) == 1:
        return {keys[0]: why}
    half = len(keys) // 2
    return find_crashing_items(keys[:half], dies) | find_crashing_items(keys[half:], dies)


def try_alone(settings: WorkerSettings, task: Task) -> None:
    """Do a task in this throw-away process and keep nothing."""
    worker, payload = settings(), task.payload
    scratch = temporary(worker.out.tmp, "alone")
    scratch.mkdir(parents=True)
    try:
        if task.kind == "curate":
            for row in payload["rows"]:
                curate_source(row, settings.recipe, worker.backends.analyser, scratch, {}, worker.files)
        elif task.kind == "portrait":
            for cut in payload["cuts"]:
                cut_portrait(cut, worker.backends.analyser, worker.files, scratch, {})
        else:
            for _ in make_clips(worker.out, payload, worker.backends, worker.files, scratch):
                pass
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _part(task: Task, group: list[str]) -> Task:
    """The task cut down to a group of its items."""
    items = ITEMS[task.kind]
    kept = [item for item in task.payload[items] if _key(task.kind, item) in group]
    return replace(task, payload={**task.payload, items: kept})


def _key(kind: str, item: dict[str, Any]) -> str:
    """What names an item of a task in `refused`."""
    key: str = item["source_key"] if kind == "curate" else (item.get("clip") or item)["clip_id"]
    return key
