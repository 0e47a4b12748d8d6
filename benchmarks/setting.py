"""What the benchmarks share: made footage, the command line in a process of its own, memory, the machine in words."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from datagen.bundled.demo_set import portraits
from datagen.bundled.talking_head import talking_head
from datagen.faces import FaceAnalyser
from datagen.media import bundled_ffmpeg, encode

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ("shards", "index", "clips", "failures", "plan/donors", "plan/waves")
TINY_RECIPE = """
seed: 7
plan: {sources_per_part: 2, clips_per_unit: 2}
curate: {size: 128, min_frames: 20, max_frames: 24, max_upscale: 3}
donors: {min_distance: 0.4}
"""


def arguments(*words: object) -> list[str]:
    """Argument list of `megactor-datagen` with these words."""
    return [sys.executable, str(ROOT / "cli.py"), *map(str, words)]


def environment() -> dict[str, str]:
    """Environment for processes started here."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def command(*words: object, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `megactor-datagen` to its end."""
    done = subprocess.run(arguments(*words), capture_output=True, text=True, env=environment(), **options)
    if check and done.returncode:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr[-1000:]}")
    return done


def published(out: Path) -> dict[str, str]:
    """Relative path -> sha256 of everything that must not differ between runs."""
    paths = (path for folder in PUBLISHED for path in sorted((out / folder).glob("*")) if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def head(person: int, frames: int, seed: int, fps: float = 25.0) -> Iterator[np.ndarray]:
    """Frames (512, 512, 3) of one of the bundled people talking."""
    image = portraits()[person].image
    analyser = FaceAnalyser()
    landmarks, _ = analyser.landmarks(image, analyser.detect(image)[0])
    made, _ = talking_head(image, landmarks, frames, fps, seed)
    return made


def head_video(path: Path, person: int, frames: int, seed: int, size: tuple[int, int] = (256, 256)) -> Path:
    """A talking head as MP4 of (width, height), the head as high as the picture, blurred and dim at the sides."""
    width, height = size

    def placed() -> Iterator[np.ndarray]:
        for frame in head(person, frames, seed):
            square = cv2.resize(frame, (height, height), interpolation=cv2.INTER_AREA)
            if width == height:
                yield square
                continue
            wide = cv2.resize(cv2.blur(frame, (31, 31)), (width, height)) // 2
            left = (width - height) // 2
            wide[:, left : left + height] = square
            yield wide

    encode(placed(), 25.0, path, crf=16)
    return path


def convert(source: Path, target: Path, *options: str, before: Sequence[str] = ()) -> Path:
    """Another container or codec by the bundled ffmpeg; `before` are options for its input."""
    files = [*before, "-i", f"file:{source}", *options, f"file:{target}"]
    subprocess.run([bundled_ffmpeg(), "-nostdin", "-v", "error", "-y", *files], check=True)
    return target


def tiny_set(folder: Path) -> Path:
    """Four heads of two people and three files that must fail alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(4):
        path = head_video(folder / f"head {number}.mp4", number % 2, 24, number)
    (folder / "corrupt.mp4").write_bytes(path.read_bytes()[:900])
    (folder / "text.mp4").write_text("this is no video\n" * 50)
    (folder / "zero.mp4").write_bytes(b"")
    return folder


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
