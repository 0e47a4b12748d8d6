"""What the benchmarks share: memory of processes, the machine in words, Markdown tables."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support import ROOT


@contextmanager
def peak_memory(pid: int | None = None, every_s: float = 0.25) -> Iterator[list[float]]:
    """Gigabytes of this process (or `pid`) and all its descendants, summed as PSS; the list holds every sample."""
    samples = [0.0]
    ended = threading.Event()
    watched = psutil.Process(pid)

    def look() -> None:
        while not ended.wait(every_s):
            samples.append(tree_memory(watched) / 1e9)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield samples
    finally:
        ended.set()
        watcher.join()


def tree_memory(process: psutil.Process) -> int:
    """Bytes of a process and its descendants: pages shared by several count once (PSS)."""
    total = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            lines = Path(f"/proc/{member.pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it ended meanwhile
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def machine() -> str:
    """One line for a table: processor, cores, commit and command."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU"
    )
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    module = Path(sys.argv[0]).stem
    line = shlex.join(["python", "-m", f"benchmarks.{module}", *sys.argv[1:]])
    return f"{len(os.sched_getaffinity(0))} cores of {model}; commit {commit or 'unknown'}; `{line}`"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
