"""The ffmpeg program: which binary, how files are named to it, how it is started and ended.

Commands are built by ffmpeg-python and run as argument lists, never through a shell. Files are named by `file:` urls
and only the `file` and `pipe` protocols and plain media containers are open to inputs, so neither a file's name
(`concat:...`, `-y`, `http:...`) nor its content (a playlist called `.mp4`) can make ffmpeg reach for anything else.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeVar

import ffmpeg
import imageio_ffmpeg

from datagen.common.errors import KilledError, Refusal, UserError

PROTOCOLS = "file,pipe"
CONTAINERS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,nut,ivf,mxf,rm,dv,h264,hevc,m4v,mjpeg"
)
"""Demuxers an input may use: single-file media. Playlists (hls, concat, dash), devices and text are left out."""


TRIES = 3
"""How often work is done whose ffmpeg is killed."""

_SHORT_OF_MEMORY = 256 - errno.ENOMEM  # ffmpeg ends with the low byte of the negative error number
_SIGNALLED = 255  # ends so after SIGTERM and SIGINT, which it handles
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

Result = TypeVar("Result")


class FfmpegError(RuntimeError):
    """ffmpeg failed at a job that had a sound input: refused settings, a folder that is not there."""


def again_if_killed(work: Callable[[], Result]) -> Result:
    """What `work` returns; it is done again where an ffmpeg that it uses is killed.

    Raises:
        Refusal: `out_of_memory` or `crashed`, where that happened `TRIES` times.
    """
    for _ in range(TRIES - 1):
        with suppress(KilledError):
            return work()
    try:
        return work()
    except KilledError as error:
        hint = "use fewer workers or a machine with more memory, then retry"
        raise Refusal(error.reason, f"{error} in each of {TRIES} tries", hint) from error


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
    """First line of `ffmpeg -version`, for the record of a run.

    Args:
        binary: the recipe's `encode.ffmpeg`; the bundled one where None.

    Raises:
        UserError: `binary` is a folder, cannot be started or is another program.
    """
    command = [binary or bundled_ffmpeg(), "-version"]
    try:
        answer = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=30)
    except subprocess.TimeoutExpired:
        problem = "does not answer"
    except OSError as error:
        problem = f"cannot be started ({error.strerror})"
    else:
        first = answer.stdout[:1000].decode(errors="replace").partition("\n")[0].strip()
        if answer.returncode == 0 and first.startswith("ffmpeg version "):
            return first
        problem = "is not ffmpeg (it does not state a version of it)"
    raise UserError(
        f"encode.ffmpeg = {command[0]!r} {problem}; name an ffmpeg program, or leave it out for the bundled one",
        code=2,
    )


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
    """Start ffmpeg; what it complains of goes to `errors`. Use with `running`.

    Raises:
        KilledError: the machine has no memory or no room for another process.
        UserError: the program is not there or cannot be run, as on a node that lacks the recipe's `encode.ffmpeg`.
    """
    try:
        return subprocess.Popen(command, stderr=errors, **{"stdin": subprocess.DEVNULL, **pipes})
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise UserError(f"the ffmpeg {command[0]!r} cannot be started: {error.strerror}") from error
    except OSError as error:
        if error.errno not in {errno.ENOMEM, errno.EAGAIN}:
            raise
        raise KilledError(
            "could not be started: the machine has no memory for it", "out_of_memory"
        ) from error


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


def check_alive(status: int) -> None:
    """Check the exit status of an ffmpeg that ended by itself.

    Raises:
        KilledError: it was killed or got no memory.
    """
    if status in (_SHORT_OF_MEMORY, -signal.SIGKILL):  # SIGKILL is what Linux sends where memory runs out
        how = "was killed (SIGKILL)" if status < 0 else "got no memory"
        raise KilledError(how, "out_of_memory")
    if status < 0:
        raise KilledError(f"was killed ({signal.Signals(-status).name})", "crashed")
    if status == _SIGNALLED:
        raise KilledError("was told to end", "crashed")


def disk_full(status: int, errors: IO[bytes]) -> bool:
    """Whether an ffmpeg that failed says by its status or words that the disk or quota is full."""
    errors.seek(0)
    said = errors.read(100_000).decode(errors="replace")
    return any(status == 256 - number or os.strerror(number) in said for number in _NO_ROOM)


def complaint(errors: IO[bytes]) -> str:
    """First line ffmpeg wrote, which names the cause (later ones name what followed), without memory addresses."""
    errors.seek(0)
    first = errors.readline(1000).decode(errors="replace").strip()
    return re.sub(r"^\[[^\]]* @ 0x[0-9a-f]+\] ", "", first) or "no message"
