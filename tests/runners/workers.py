"""Workers without media: they write one small file per task, so that tests can count attempts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen.common.errors import Refusal, UserError
from datagen.runners import Fingerprint, Report, Task


@dataclass(frozen=True)
class ToyTask(Task):
    """What a toy worker does: a word of `Toy.run`, how often, and after how many seconds."""

    do: str = "work"
    times: int = 99
    sleep: float = 0.0


@dataclass(frozen=True)
class Toy:
    """Factory of a worker that does what its task says; `folder` records every attempt."""

    folder: Path

    def __call__(self) -> Callable[[Any], Report]:
        return self.run

    def run(self, task: ToyTask) -> Report:
        with (self.folder / f"{task.name}.attempts").open("a") as file:
            file.write(f"{os.getpid()} {task.isolate}\n")
        attempts = len((self.folder / f"{task.name}.attempts").read_text().splitlines())
        time.sleep(task.sleep)
        todo = task.do
        if todo == "kill" and not task.isolate and attempts <= task.times:
            print("about to kill", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if todo == "die always":
            os._exit(3)
        if (
            todo == "hang always"
            or (todo == "hang" and not task.isolate)
            or (todo == "slow once" and attempts == 1)
        ):
            time.sleep(60)
        if todo == "freeze once" and attempts == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        if todo == "spawn":
            program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            (self.folder / "pids").write_text(f"{os.getpid()} {program.pid}")
            time.sleep(60)
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


class Dying:
    """Factory whose process dies."""

    def __call__(self) -> Callable[[Task], Report]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@dataclass(frozen=True)
class HangingHeartbeat:
    """A heartbeat that hangs once, as an access to a disk that does not respond."""

    folder: Path

    def __call__(self) -> None:
        if not (self.folder / "hung").exists():
            (self.folder / "hung").touch()
            time.sleep(60)


@dataclass(frozen=True)
class NodeFingerprint:
    """Fingerprint that differs on one node."""

    odd: str

    def __call__(self) -> Fingerprint:
        import ray

        odd = ray.get_runtime_context().get_node_id() == self.odd
        return Fingerprint({"numpy": "1.0" if odd else "2.0"}, {"cpu_features": "sse4"})


class Reports(dict[str, Any]):
    """Collects reports by task name."""

    def __call__(self, task: Task, report: Report) -> None:
        assert task.name not in self, "reported twice"
        self[task.name] = report


def tasks(*todo: str, limit_s: float | None = None, **settings: Any) -> list[ToyTask]:
    return [
        ToyTask("synthesise", f"u{n}", limit_s=limit_s, do=what, **settings) for n, what in enumerate(todo)
    ]


def echo(text: str, path: Path, todo: str = "return") -> tuple[int, str, Path]:
    """Its process and arguments, after it did what `todo` says."""
    print("libraries print to stdout", flush=True)
    if todo == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if todo == "exit":
        os._exit(3)
    if todo == "exit well":
        os._exit(0)
    if todo == "hang":
        time.sleep(60)
    if todo == "spawn":
        program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        path.write_text(f"{os.getpid()} {program.pid}")
        time.sleep(60)
    if todo == "refuse":
        raise Refusal("no_face", "nobody there", "look elsewhere", "faces", 0.0, 1.0)
    if todo == "stop":
        raise UserError("the disk is full", code=2)
    if todo == "raise":
        raise KeyError("unexpected")
    return os.getpid(), text, path


def unpicklable() -> Callable[[], int]:
    """A result that cannot be sent back."""
    return lambda: 1
