"""Damaged media: small containers, three kinds of damage, and a child process that curates them with a time limit."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from tests.support import TINY_RECIPE, convert, head_video

KINDS = ("bit flips", "truncation", "header damage")
CONTAINERS = {
    "h264.mp4": ("-c:v", "copy"),
    "h264 index last.mov": ("-c:v", "copy", "-f", "mov"),
    "h264.mkv": ("-c:v", "copy"),
    "h264.ts": ("-c:v", "copy"),
    "hevc.mp4": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-q:v", "4"),
    "mjpeg.avi": ("-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p"),
}


def containers(folder: Path, frames: int = 30) -> list[Path]:
    """One talking head in several containers and codecs."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = head_video(folder / "plain.mp4", 0, frames, 0, (192, 192))
    return [convert(plain, folder / name, *options) for name, options in CONTAINERS.items()]


def mutate(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """Damage a file.

    Args:
        data: the whole file.
        kind: `bit flips` anywhere, 1 to 200 of them; `truncation` to 0..99 %; `header damage`, up to 64 bytes of
            the first or last 2 kB replaced by noise, zeros or 0xff (where containers keep their structure).
        rng: draws positions and values.
    """
    damaged = np.frombuffer(data, np.uint8).copy()
    if kind == "bit flips":
        count = int(np.exp(rng.uniform(0, np.log(200))))
        places = rng.integers(0, len(damaged), count)
        damaged[places] ^= np.uint8(1) << rng.integers(0, 8, count).astype(np.uint8)
    elif kind == "truncation":
        damaged = damaged[: int(len(damaged) * rng.uniform(0, 0.99))]
    elif kind == "header damage":
        start = 0 if rng.random() < 0.75 else max(len(damaged) - 2048, 0)
        window = damaged[start : start + 2048]
        count = int(rng.integers(1, 65))
        places = rng.integers(0, len(window), count)
        fill = rng.integers(0, 256, count).astype(np.uint8), np.uint8(0), np.uint8(255)
        window[places] = fill[int(rng.integers(3))]
    else:
        raise ValueError(f"no such damage: {kind}")
    return damaged.tobytes()


def damaged_files(sources: list[Path], folder: Path, count: int, seed: int) -> Iterator[tuple[Path, str]]:
    """Yield `count` damaged files, each with its kind of damage; the seed of each is in its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(seed, seed + count):
        rng = np.random.default_rng(number)
        source, kind = sources[number % len(sources)], KINDS[number // len(sources) % len(KINDS)]
        path = folder / f"{number:05d} {kind} {source.name}"
        path.write_bytes(mutate(source.read_bytes(), kind, rng))
        yield path, kind


@dataclass(frozen=True)
class Outcome:
    """Result for one file: number of `clips` and `reasons` of failure rows, or `died`, how its process ended."""

    clips: int = 0
    reasons: tuple[str, ...] = ()
    died: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return self.died or ", ".join([f"{self.clips} clip"] * bool(self.clips) + sorted(set(self.reasons)))


class Curator:
    """Curates files in a process of its own, which is killed when a file takes too long; a context manager."""

    def __init__(self, limit_s: float = 60.0) -> None:
        self._limit_s = limit_s
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def __call__(self, path: Path) -> Outcome:
        """Curate one file."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
            self._pipe.recv()  # models are loaded
        assert self._pipe is not None
        started = time.monotonic()
        self._pipe.send(str(path))
        try:
            if self._pipe.poll(self._limit_s):
                clips, reasons = self._pipe.recv()
                return Outcome(clips, reasons, seconds=time.monotonic() - started)
            died = f"no end after {self._limit_s:g} s"
        except EOFError:
            self._process.join()
            died = f"process died ({self._process.exitcode})"
        self._end()
        return Outcome(died=died, seconds=time.monotonic() - started)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._pipe = None


def _serve(pipe: Connection) -> None:
    """The child process: receives paths, sends the number of clips and the reasons."""
    import tempfile

    import yaml

    from datagen.curate.source import CARRIED, curate_source
    from datagen.faces import FaceAnalyser
    from datagen.recipe import Recipe
    from datagen.runners.tasks import single_threaded
    from datagen.sources.files import SourceFiles

    single_threaded()
    recipe = Recipe.model_validate(yaml.safe_load(TINY_RECIPE))
    analyser = FaceAnalyser()
    pipe.send(None)
    with tempfile.TemporaryDirectory() as scratch:
        while True:
            try:
                path = pipe.recv()
            except EOFError:
                return
            row = dict.fromkeys((*CARRIED, "part"), "x")
            row |= {"source": path, "source_key": path, "member": "", "name": "x"}
            row |= {"root": "x", "path": os.fsencode(Path(path).name)}
            files = SourceFiles({"x": Path(path).parent})
            clips, failures = curate_source(row, recipe, analyser, Path(scratch), {}, files)
            pipe.send((len(clips), tuple(row["reason"] for row in failures)))
