"""The uninterrupted run that faults are compared with, and commands at work while something happens to them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.setting import TINY_RECIPE, arguments, command, environment, published, tiny_set
from datagen.inspect.verify import verify
from datagen.shards import Dataset

LIMIT_S = 600.0


@dataclass(frozen=True)
class Reference:
    """The uninterrupted run, and what is needed to do the same elsewhere."""

    footage: Path
    recipe: Path
    hashes: dict[str, str]
    clips: list[str]
    seconds: float

    @classmethod
    def make(cls, folder: Path) -> Reference:
        """Make footage and run over it once."""
        footage, recipe = tiny_set(folder / "footage"), folder / "tiny.yaml"
        recipe.write_text(TINY_RECIPE)
        out = folder / "reference"
        started = time.monotonic()
        command(*words(footage, recipe, out))
        seconds = time.monotonic() - started
        return cls(
            footage, recipe, published(out), sorted(Dataset(out).table["clip_id"].to_pylist()), seconds
        )

    def losses(self, out: Path) -> list[str]:
        """How another output differs from this one, in words."""
        found = published(out)
        lost = [f"{name} is missing" for name in sorted(self.hashes.keys() - found.keys())]
        lost += [f"{name} is too much" for name in sorted(found.keys() - self.hashes.keys())]
        lost += [
            f"{name} differs"
            for name in self.hashes.keys() & found.keys()
            if found[name] != self.hashes[name]
        ]
        if sorted(Dataset(out).table["clip_id"].to_pylist()) != self.clips:
            lost.append("clips are not the same ones, or doubled")
        lost += [f"left in tmp: {path.name}" for path in (out / "tmp").iterdir()]
        return lost + verify(out).faults

    def words(self, out: Path, runner: str = "local", *more: object) -> list[object]:
        """Command line of the same run into another folder."""
        return words(self.footage, self.recipe, out, runner, *more)


def words(footage: Path, recipe: Path, out: Path, runner: str = "local", *more: object) -> list[object]:
    """Command line of a run."""
    return ["run", "--input", footage, "--recipe", recipe, "--output", out, "--runner", runner, *more]


@contextmanager
def started(line: list[object]) -> Iterator[subprocess.Popen[bytes]]:
    """A command at work; it and its descendants are gone afterwards."""
    process = subprocess.Popen(
        arguments(*line), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        for member in family(process.pid):
            member.kill()
        process.kill()
        process.wait()


def family(pid: int) -> list[psutil.Process]:
    """Descendants of a process."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def title(process: psutil.Process) -> str:
    """Command line of a process; Ray writes there what an actor does."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
