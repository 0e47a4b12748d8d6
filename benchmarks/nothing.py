"""A worker that does nothing, in a module that worker processes can import."""

from __future__ import annotations

from datagen.runners import Report, Task, Worker


def nothing(task: Task) -> Report:
    """The worker: as many clips as the task names, made of nothing."""
    return {"clips": len(task.payload["clip_ids"])}


def make_nothing() -> Worker:
    """The factory of the worker."""
    return nothing
