"""The reference runner: one process, tasks in order."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from datagen.errors import UserError
from datagen.layout import is_alive, owner_id
from datagen.runners.tasks import (
    ATTEMPTS,
    LOSSES_BEFORE_GIVING_UP,
    LOSSES_BEFORE_ISOLATION,
    Factory,
    OnReport,
    Task,
    attempt,
    given_up,
    interruptible,
    single_threaded,
)


def run_local(
    factory: Factory, tasks: Iterable[Task], on_report: OnReport, *, logs: Path | None = None
) -> None:
    """Do all tasks here.

    Args:
        factory: makes the worker, once, when there is a first task.
        tasks: in the order to do them; may be a generator.
        on_report: called after each task; an exception from it ends the run.
        logs: folder for crash markers. A task that killed this process is noticed by the next run, and
            isolated when it did so twice.

    Raises:
        UserError: the worker says that the user must act, for example that the disk is full.
    """
    worker = None
    with interruptible():
        for task in tasks:
            if worker is None:
                single_threaded()
                worker = factory()
            marker = _Marker(logs / "running" / f"{task.key}.json") if logs else None
            losses = marker.enter() if marker else 0
            try:
                if losses >= LOSSES_BEFORE_GIVING_UP:
                    on_report(task, given_up("crashed", "the task killed its process, also when isolated"))
                    continue
                task = replace(task, isolate=task.isolate or losses >= LOSSES_BEFORE_ISOLATION)
                for _ in range(ATTEMPTS):
                    outcome = attempt(worker, task)
                    if outcome.kind != "error":
                        break
                if outcome.kind == "stop":
                    raise UserError(outcome.report["message"], code=outcome.code)
                on_report(task, outcome.report)
            finally:
                if marker:
                    marker.leave()


class _Marker:
    """File that exists while a task is at work; found again, its process was killed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def enter(self) -> int:
        """How often the task killed its process before."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        losses = 0
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            losses = int(found["losses"]) + (not is_alive(str(found["owner"]), self._path))
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError):
            losses = 1  # killed while writing the marker
        self._path.write_text(json.dumps({"owner": owner_id(), "losses": losses}), encoding="utf-8")
        return losses

    def leave(self) -> None:
        self._path.unlink(missing_ok=True)
