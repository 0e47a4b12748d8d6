"""The ffmpeg program: its binary, file names, start and end.

Commands are built by ffmpeg-python and run as argument lists, never through a shell. Files are named by `file:` URLs.
Inputs may use only the `file` and `pipe` protocols and plain media containers, so neither a file's name (`concat:...`,
`-y`, `http:...`) nor its content (a playlist called `.mp4`) can make ffmpeg open anything else.
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
"""Allowed demuxers of inputs: media in a single file. Playlists (hls, concat, dash), devices and text are excluded."""

TRIES = 3
"""How often work is tried while its ffmpeg is killed."""

_OUT_OF_MEMORY = 256 - errno.ENOMEM  # ffmpeg's exit status is the low byte of the negative error number
_SIGNALLED = 255  # exit status after SIGTERM and SIGINT, which ffmpeg handles
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

Result = TypeVar("Result")


class FfmpegError(RuntimeError):
    """ffmpeg failed although its input is good, for example because of a bad setting or a missing folder."""


def again_if_killed(work: Callable[[], Result]) -> Result:
    """Result of `work`, which is repeated if an ffmpeg that it uses is killed.

    Raises:
        Refusal: `out_of_memory` or `crashed`, if that happens `TRIES` times.
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

    `imageio_ffmpeg.get_ffmpeg_exe` is not used: it prefers an environment variable and may return the system's ffmpeg,
    and outputs must not depend on either.

    Raises:
        UserError: the wheel has no binary for this platform.
    """
    folder = Path(imageio_ffmpeg.__file__).parent / "binaries"
    binaries = sorted(folder.glob("ffmpeg-*"))
    if not binaries:
        raise UserError(
            "the installed imageio-ffmpeg contains no ffmpeg binary for this platform; install one of its wheels"
        )
    return str(binaries[0])


@cache
def ffmpeg_version(binary: str | None = None) -> str:
    """First line of `ffmpeg -version`, for the record of a run.

    Args:
        binary: the recipe's `encode.ffmpeg`; None for the bundled one.

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
    """`file:` URL of a path, so that ffmpeg takes any name as a file name."""
    return "file:" + os.fspath(path)


def argv(stream: Any, binary: str | None = None) -> list[str]:
    """Argument list of an ffmpeg-python output; ffmpeg prints only errors and reads nothing from the terminal."""
    quiet = stream.global_args("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error")
    command: list[str] = ffmpeg.compile(quiet, cmd=binary or bundled_ffmpeg(), overwrite_output=True)
    return command


def start(
    command: list[str], *, errors: IO[bytes] | int = subprocess.DEVNULL, **pipes: Any
) -> subprocess.Popen[bytes]:
    """Start ffmpeg with its error messages going to `errors`. Use it with `running`.

    Raises:
        KilledError: the machine has no memory for another process, or too many processes.
        UserError: the program is missing or cannot be run, for example on a node without the recipe's `encode.ffmpeg`.
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
    """On exit, kill the process if it still runs, close its pipes and wait for it."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # closing flushes data that an ended process cannot read
                    pipe.close()
        process.wait()


def check_alive(status: int) -> None:
    """Check the exit status of an ffmpeg that this process did not kill.

    Raises:
        KilledError: it was killed or got no memory.
    """
    if status in (_OUT_OF_MEMORY, -signal.SIGKILL):  # Linux sends SIGKILL when memory runs out
        how = "was killed (SIGKILL)" if status < 0 else "got no memory"
        raise KilledError(how, "out_of_memory")
    if status < 0:
        raise KilledError(f"was killed ({signal.Signals(-status).name})", "crashed")
    if status == _SIGNALLED:
        raise KilledError("was ended by a signal", "crashed")


def disk_full(status: int, errors: IO[bytes]) -> bool:
    """Whether the status or the messages of a failed ffmpeg mean that the disk or quota is full."""
    errors.seek(0)
    messages = errors.read(100_000).decode(errors="replace")
    return any(status == 256 - number or os.strerror(number) in messages for number in _DISK_FULL)


def complaint(errors: IO[bytes]) -> str:
    """First line of ffmpeg's messages, which names the cause, without memory addresses."""
    errors.seek(0)
    first = errors.readline(1000).decode(errors="replace").strip()
    return re.sub(r"^\[[^\]]* @ 0x[0-9a-f]+\] ", "", first) or "no message"
