"""A reference run, and the same run with kills or several drivers: both must publish the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from datagen.inspect.verify import verify
from datagen.shards import Dataset
from tests.support import (
    TINY_RECIPE,
    arguments,
    command,
    environment,
    published,
    run_words,
    tiny_pictures,
    tiny_set,
)

LIMIT_S = 600.0


@dataclass(frozen=True)
class ReferenceRun:
    """A finished run and what is needed to repeat it.

    Attributes:
        footage: folder of the sources, as `tiny_set` makes it.
        recipe: file.
        pictures: options for donors and styles.
        out: the run's output, not to be changed.
        printed: the text that the run printed.
        hashes: hashes of the published files, see `published`.
        clips: sorted clip ids.
        seconds: how long it took.
    """

    footage: Path
    recipe: Path
    pictures: list[object]
    out: Path
    printed: str
    hashes: dict[str, str]
    clips: list[str]
    seconds: float

    @classmethod
    def make(cls, folder: Path) -> ReferenceRun:
        """Make the tiny set and run over it once."""
        footage, recipe = tiny_set(folder / "footage"), folder / "tiny.yaml"
        recipe.write_text(TINY_RECIPE)
        pictures, out = tiny_pictures(folder), folder / "reference"
        started = time.monotonic()
        printed = command(*run_words(footage, recipe, out, "local", *pictures)).stdout
        seconds = time.monotonic() - started
        clips = sorted(Dataset(out).table["clip_id"].to_pylist())
        return cls(footage, recipe, pictures, out, printed, published(out), clips, seconds)

    def differences(self, out: Path) -> list[str]:
        """How another output differs from this one, in words."""
        found = published(out)
        named = [f"{name} is missing" for name in sorted(self.hashes.keys() - found.keys())]
        named += [f"{name} should not be there" for name in sorted(found.keys() - self.hashes.keys())]
        both = sorted(self.hashes.keys() & found.keys())
        named += [f"{name} differs" for name in both if found[name] != self.hashes[name]]
        if sorted(Dataset(out).table["clip_id"].to_pylist()) != self.clips:
            named.append("clips are not the same ones, or doubled")
        named += [f"left in tmp: {path.name}" for path in (out / "tmp").iterdir()]
        return named + verify(out).faults

    def words(self, out: Path, runner: str = "local", *more: object) -> list[object]:
        """Words of the same run into another folder."""
        return run_words(self.footage, self.recipe, out, runner, *self.pictures, *more)


@contextmanager
def running(words: list[object], log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A running command; it and its descendants are killed at the end. Its error messages go to `log`."""
    with (log or Path(os.devnull)).open("wb") as errors:
        process = subprocess.Popen(
            arguments(*words), env=environment(), stdout=subprocess.DEVNULL, stderr=errors
        )
    try:
        yield process
    finally:
        for child in descendants(process.pid):
            child.kill()
        process.kill()
        process.wait()


def descendants(pid: int) -> list[psutil.Process]:
    """Children of a process, and theirs."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def command_line(process: psutil.Process) -> str:
    """Command line of a process; Ray writes there what an actor does."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill_and_resume(reference: ReferenceRun, out: Path, after_s: float) -> tuple[bool, list[str]]:
    """SIGKILL a local run after so many seconds, then run it again.

    Returns:
        Whether the kill came before its end, and the differences from the reference.
    """
    with running(reference.words(out)) as driver:
        try:
            driver.wait(after_s)
        except subprocess.TimeoutExpired:
            driver.send_signal(signal.SIGKILL)
        killed = driver.wait() == -signal.SIGKILL
    command(*reference.words(out), timeout=LIMIT_S)
    return killed, reference.differences(out)


def kill_actor(reference: ReferenceRun, out: Path, after_s: float) -> tuple[bool, list[str]]:
    """SIGKILL one Ray actor in the middle of a task, so many seconds after the first unit; the run goes on without it.

    Returns:
        Whether an actor was found at work, and the differences from the reference.
    """
    log = out.with_name(f"{out.name}.log")
    with running(reference.words(out, "ray", "--workers", 2), log) as driver:
        killed = False
        deadline = time.monotonic() + LIMIT_S
        while driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
            if not killed and any((out / "index").glob("*.parquet")):
                time.sleep(after_s)
                busy = [child for child in descendants(driver.pid) if ".run" in command_line(child)]
                if busy:
                    busy[0].kill()
                    killed = True
        code = driver.wait(LIMIT_S)
    ended = [f"the driver ended with {code}: {log.read_text()[-500:]}"] if code else []
    return killed, ended + reference.differences(out)


def run_at_once(reference: ReferenceRun, out: Path, count: int) -> list[str]:
    """Several drivers at the same time on one output; the differences from the reference."""
    drivers = [
        subprocess.Popen(
            arguments(*reference.words(out)),
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(count)
    ]
    named = []
    for driver in drivers:
        _, errors = driver.communicate(timeout=LIMIT_S)
        if driver.returncode:
            named.append(f"a driver ended with {driver.returncode}: {errors.decode()[-300:]}")
    return named + reference.differences(out)
