"""What several tests and the benchmarks share: made footage, a tiny data set, calls of the command line."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import skimage.data

import cli
from datagen.bundled.portraits import portraits
from datagen.bundled.talking_head import talking_head
from datagen.common.hashing import file_sha256
from datagen.media import bundled_ffmpeg, encode

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
"""Real clips and the specification; they are not part of the project, and tests that need them are skipped without."""
PUBLISHED = ("shards", "index", "clips", "failures", "plan/donors", "plan/waves")
TINY_RECIPE = """
seed: 7
plan: {sources_per_part: 2, clips_per_unit: 2}
curate: {size: 128, min_frames: 20, max_frames: 24, max_upscale: 3}
donors: {min_distance: 0.4}
split: {val: 0.0, test: 0.0}
"""


def arguments(*words: object) -> list[str]:
    """Argument list of `megactor-datagen` with these words."""
    return [sys.executable, str(ROOT / "cli.py"), *map(str, words)]


def environment(**changes: str) -> dict[str, str]:
    """Environment for processes that a test starts; Ray workers keep their priority, so that no test waits for them."""
    plain = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    return {**os.environ, **plain, **changes}


def command(
    *words: object,
    check: bool = True,
    timeout: float = 500,
    env: dict[str, str] | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run `megactor-datagen` in a process of its own, to its end.

    Args:
        words: words of the command line.
        check: raise AssertionError if the exit code is not 0.
        timeout: seconds.
        env: changes of the environment.
        options: options of `subprocess.run`.
    """
    done = subprocess.run(
        arguments(*words), capture_output=True, text=True, env=environment(**(env or {})), timeout=timeout, **options
    )  # fmt: skip
    if check and done.returncode:
        raise AssertionError(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def start_python(code: str, *words: object) -> subprocess.Popen[bytes]:
    """Start a Python program; its output is a pipe."""
    line = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(line, env=environment(), stdout=subprocess.PIPE)


@dataclass(frozen=True)
class Answer:
    """How a command ended in this process, and what it printed."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """All that was printed."""
        return self.stdout + self.stderr


def call(*words: object) -> Answer:
    """Run `megactor-datagen` in this process by its entry point: exit codes and errors are those of the program."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace") for _ in range(2))
    line = ["megactor-datagen", *map(str, words)]
    code = 0
    with (
        mock.patch.object(sys, "argv", line),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    printed = []
    for stream in (out, err):
        stream.flush()
        stream.seek(0)
        printed.append(stream.read())
    return Answer(code, *printed)


def run_words(footage: Path, recipe: Path, out: Path, runner: str = "local", *more: object) -> list[object]:
    """Words of the command `run`."""
    return ["run", "--input", footage, "--recipe", recipe, "--output", out, "--runner", runner, *more]


def published(out: Path) -> dict[str, str]:
    """Relative path -> sha256 of every file that must not differ between runs."""
    paths = (path for folder in PUBLISHED for path in sorted((out / folder).glob("*")) if path.is_file())
    return {str(path.relative_to(out)): file_sha256(path) for path in paths}


def head(person: int, frames: int, seed: int, fps: float = 25.0) -> Iterator[np.ndarray]:
    """Frames (512, 512, 3) of one of the bundled people talking."""
    portrait = portraits()[person]
    made, _ = talking_head(portrait.image, portrait.landmarks, frames, fps, seed)
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


def tiny_pictures(folder: Path) -> list[object]:
    """Options for three portraits as donors and two pictures as styles.

    The clips of the tiny recipe are too small to be donors, and the bundled portraits and styles would take every
    process of a run five seconds to make.
    """
    styles, donors = folder / "styles", folder / "donors"
    for path in (styles, donors):
        path.mkdir(parents=True, exist_ok=True)
    for portrait in portraits()[2:5]:
        cv2.imwrite(str(donors / f"{portrait.name}.png"), portrait.image[..., ::-1])
    for name, picture in (
        ("coffee", skimage.data.coffee()),
        ("retina", skimage.data.retina()[300:900, 300:900]),
    ):
        cv2.imwrite(str(styles / f"{name}.png"), picture[::2, ::2, ::-1])
    return ["--donors", donors, "--styles", styles]


def tiny_set(folder: Path) -> Path:
    """Four heads of two people, and four files that fail, each without harm to the others."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(4):
        path = head_video(folder / f"head {number}.mp4", number % 2, 24, number)
    (folder / "corrupt.mp4").write_bytes(path.read_bytes()[:900])
    (folder / "text.mp4").write_text("this is no video\n" * 50)
    (folder / "zero.mp4").write_bytes(b"")
    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 256, (128, 128, 3), np.uint8) for _ in range(30))
    encode(noise, 25.0, folder / "no face.mp4")
    return folder
