"""Workers without any media: they write one small file per task, so that exactly-once can be seen."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen.errors import Refusal, UserError
from datagen.runners import Report, Task


@dataclass(frozen=True)
class Toy:
    """Factory of a worker that does what the task's payload says; `folder` records every attempt."""

    folder: Path

    def __call__(self) -> Callable[[Task], Report]:
        return self.run

    def run(self, task: Task) -> Report:
        with (self.folder / f"{task.name}.attempts").open("a") as file:
            file.write(f"{os.getpid()} {task.isolate}\n")
        attempts = len((self.folder / f"{task.name}.attempts").read_text().splitlines())
        time.sleep(task.payload.get("sleep", 0))
        todo = task.payload.get("do", "work")
        if todo == "kill" and not task.isolate and attempts <= task.payload.get("times", 99):
            os.kill(os.getpid(), signal.SIGKILL)
        if todo == "raise":
            raise KeyError("unexpected")
        if todo == "raise once" and attempts == 1:
            raise KeyError("unexpected")
        if todo == "refuse":
            raise Refusal("no_face", "nobody there")
        if todo == "stop":
            raise UserError("the disk is full")
        (self.folder / f"{task.name}.done").write_text("done")
        return {"clips": 1, "frames": 10, "isolated": int(task.isolate), "seconds": {"swap": 0.5}}

    def attempts(self, name: str) -> int:
        path = self.folder / f"{name}.attempts"
        return len(path.read_text().splitlines()) if path.exists() else 0


class Broken:
    """Factory that cannot make its worker."""

    def __call__(self) -> Callable[[Task], Report]:
        raise UserError("the model file is missing")


class Reports(dict[str, Any]):
    """Collects reports by task name."""

    def __call__(self, task: Task, report: Report) -> None:
        assert task.name not in self, "reported twice"
        self[task.name] = report


def tasks(*todo: str, **payload: Any) -> list[Task]:
    return [Task("synthesise", f"u{n}", {"do": what, **payload}) for n, what in enumerate(todo)]


def echo(payload: dict[str, Any]) -> dict[str, Any]:
    print("libraries print to stdout", flush=True)
    if payload.get("do") == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if payload.get("do") == "exit":
        os._exit(3)
    if payload.get("do") == "hang":
        time.sleep(60)
    if payload.get("do") == "refuse":
        raise Refusal("no_face", "nobody there", "look elsewhere")
    if payload.get("do") == "stop":
        raise UserError("the disk is full", code=1)
    if payload.get("do") == "raise":
        raise KeyError("unexpected")
    return {"pid": os.getpid(), **payload}
