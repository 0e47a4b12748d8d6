"""The ffmpeg program: which binary, how files are named to it, how it is started and ended.

Commands are built by ffmpeg-python and run as argument lists, never through a shell. Files are named by `file:` urls
and only the `file` and `pipe` protocols and plain media containers are open to inputs, so neither a file's name
(`concat:...`, `-y`, `http:...`) nor its content (a playlist called `.mp4`) can make ffmpeg reach for anything else.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

import ffmpeg
import imageio_ffmpeg

from datagen.errors import UserError

PROTOCOLS = "file,pipe"
CONTAINERS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,nut,ivf,mxf,rm,dv,h264,hevc,m4v,mjpeg"
)
"""Demuxers an input may use: single-file media. Playlists (hls, concat, dash), devices and text are left out."""


class FfmpegError(RuntimeError):
    """ffmpeg failed at a job that had a sound input: disk full, killed, refused settings."""


@cache
def bundled_ffmpeg() -> str:
    """Path of the binary inside the imageio-ffmpeg wheel.

    `imageio_ffmpeg.get_ffmpeg_exe` is not asked, because it prefers an environment variable and may fall back on the
    system's ffmpeg; outputs must not depend on either.

    Raises:
        UserError: the wheel holds no binary for this platform.
    """
    folder = Path(imageio_ffmpeg.__file__).parent / "binaries"
    binaries = sorted(folder.glob("ffmpeg-*"))
    if not binaries:
        raise UserError(
            "the installed imageio-ffmpeg brings no ffmpeg binary for this platform; install one of its wheels"
        )
    return str(binaries[0])


@cache
def ffmpeg_version(binary: str | None = None) -> str:
    """First line of `ffmpeg -version`, for the record of a run."""
    answer = subprocess.run(
        [binary or bundled_ffmpeg(), "-version"], capture_output=True, check=True, stdin=subprocess.DEVNULL
    )
    return answer.stdout.decode(errors="replace").splitlines()[0]


def file_url(path: str | os.PathLike[str]) -> str:
    """`file:` url of a path: whatever the name looks like, it stays a file name."""
    return "file:" + os.fspath(path)


def argv(stream: Any, binary: str | None = None) -> list[str]:
    """Argument list of an ffmpeg-python output, quiet, never asking, never reading the terminal."""
    quiet = stream.global_args("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error")
    command: list[str] = ffmpeg.compile(quiet, cmd=binary or bundled_ffmpeg(), overwrite_output=True)
    return command


def start(
    command: list[str], *, errors: IO[bytes] | int = subprocess.DEVNULL, **pipes: Any
) -> subprocess.Popen[bytes]:
    """Start ffmpeg; what it complains of goes to `errors`. Use with `running`."""
    return subprocess.Popen(command, stderr=errors, **{"stdin": subprocess.DEVNULL, **pipes})


@contextmanager
def running(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kills the process on the way out if it still runs, closes its pipes and reaps it."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # closing flushes what a dead process can no longer take
                    pipe.close()
        process.wait()


def complaint(errors: IO[bytes]) -> str:
    """First line ffmpeg wrote, which names the cause (later ones name what followed), without memory addresses."""
    errors.seek(0)
    first = errors.readline(1000).decode(errors="replace").strip()
    return re.sub(r"^\[[^\]]* @ 0x[0-9a-f]+\] ", "", first) or "no message"
