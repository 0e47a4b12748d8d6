"""Finding the items of a task that kill the worker's process."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.pipeline import worker
from datagen.pipeline.worker import Worker, WorkerSettings, find_crashing_items
from datagen.plan.tasks import SynthesiseTask
from datagen.recipe import load_recipe
from datagen.runners.isolate import Crashed, TimedOut


def test_halving_finds_items_that_crash_and_that_hang() -> None:
    culprits = {"b": ("crashed", "killed by SIGKILL"), "e": ("timeout", "took longer than 9 s")}
    tried: list[list[str]] = []

    def dies(group: list[str]) -> tuple[str, str] | None:
        tried.append(group)
        return next((culprits[key] for key in group if key in culprits), None)

    assert find_crashing_items(list("abcdefgh"), dies) == culprits
    assert len(tried) < 2 * 8


def test_items_of_an_isolated_task_are_tried_within_their_share_of_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: dict[int, float | None] = {}

    def call(
        function: object, settings: WorkerSettings, part: SynthesiseTask, timeout_s: float | None
    ) -> None:
        group = part.items
        limits[len(group)] = timeout_s
        if "c" in group:
            raise TimedOut("took longer than 100 s")
        if "f" in group:
            raise Crashed("killed by SIGKILL")

    monkeypatch.setattr(worker, "call_isolated", call)
    recipe = load_recipe(None, ["limits.task_s=100"])
    made = Worker(WorkerSettings(tmp_path, recipe, "0", None, {}))
    clips = [{"clip_id": clip} for clip in "abcdefgh"]
    task = SynthesiseTask(
        name="p00000-u00", part="p00000", clip_table="p00000", wave="w000", clips=clips, sources={},
        isolate=True, limit_s=600.0,
    )  # fmt: skip
    assert made._isolated(task).refused == {
        "c": ("timeout", "took longer than 100 s"),
        "f": ("crashed", "killed by SIGKILL"),
    }
    assert limits == {8: 600.0, 4: 300.0, 2: 150.0, 1: 100.0}
