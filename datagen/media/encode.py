"""Encoding as H.264 in MP4: the same frames give the same bytes on every x86-64 machine.

x264 runs with `cpu-independent=1`, one thread and fixed groups of pictures. The scaler has `accurate_rnd+bitexact`;
without them its colour conversion differs between SSE and AVX machines. The container has no dates or program names.
"""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from typing import Any, Literal

import cv2
import ffmpeg
import numpy as np

from datagen.media.ffmpeg import (
    FfmpegError,
    argv,
    check_alive,
    complaint,
    disk_full,
    file_url,
    running,
    start,
)

Kind = Literal["colour", "grey", "mask"]

X264 = "cpu-independent=1:scenecut=0:open-gop=0:cabac=0:b-pyramid=none"
"""A clip is written once and decoded in every epoch. Without CABAC, and with B frames that are no references, reading
frames at a stride takes a third less time, for about 5 % more bytes at the same quality."""


def frame_rate(fps: float) -> Fraction:
    """Exact rate for `fps`: 29.97 is 30000/1001, 25.0 is 25; others the nearest fraction with a denominator up to 1001.

    Raises:
        ValueError: `fps` is not a positive finite number.
    """
    if not 0 < fps < float("inf"):
        raise ValueError(f"frame rate {fps} must be positive")
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    if round(fps) != fps and ntsc and abs(float(ntsc) - fps) < 0.005:
        return ntsc
    return Fraction(fps).limit_denominator(1001) or Fraction(1, 1001)


def encode(
    frames: Iterable[np.ndarray],
    fps: float,
    path: str | os.PathLike[str],
    *,
    kind: Kind = "colour",
    crf: int = 18,
    gop: int = 12,
    preset: str = "veryfast",
    comment: str = "",
    ffmpeg_binary: str | None = None,
) -> None:
    """Write `frames` to `path` as constant-rate MP4 (index first, closed groups of pictures, 4:2:0).

    Frames are passed on one by one, so memory does not grow with their number. 4:2:0 needs even sizes: of an odd one,
    the last row or column is repeated. A failure may leave an incomplete file: use a temporary name, then rename it.

    Args:
        frames: uint8 RGB (H, W, 3) or grey (H, W), all of one shape; at least one.
        fps: frames per second, see `frame_rate`.
        path: the file to write; overwritten if it exists.
        kind: `colour` is tagged BT.709; `grey` keeps luma only, in full range, and decodes to equal RGB channels;
            `mask` is lossless `grey` (all 256 values are kept).
        crf: x264's constant rate factor; not used for masks.
        gop: frames from one key frame to the next.
        preset: x264's preset.
        comment: text for the container's metadata.
        ffmpeg_binary: path of an ffmpeg to use instead of the bundled one.

    Raises:
        ValueError: no frames, or frames that differ in shape or are not uint8.
        KilledError: ffmpeg was killed or got no memory.
        OSError: the disk or quota is full.
        FfmpegError: ffmpeg failed in another way (bad setting, missing folder); the message has its first error line.
    """
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise ValueError("cannot encode a video without frames")
    picture = _picture(first, kind)
    command = _command(picture, frame_rate(fps), path, kind, crf, gop, preset, comment, ffmpeg_binary)
    with tempfile.TemporaryFile() as errors:
        process = start(command, errors=errors, stdin=subprocess.PIPE)
        with running(process):
            assert process.stdin is not None
            try:
                for number, frame in enumerate(chain([first], rest)):
                    following = _picture(frame, kind)
                    if following.shape != picture.shape:
                        raise ValueError(
                            f"frame {number} is {following.shape}, the first one {picture.shape}"
                        )
                    process.stdin.write(following.data)
                process.stdin.close()
            except BrokenPipeError:
                pass  # ffmpeg ended early; its exit status and messages give the reason
            status = process.wait()
            if status != 0 and disk_full(status, errors):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            check_alive(status)
            if status != 0:
                raise FfmpegError(f"ffmpeg failed while encoding (status {status}): {complaint(errors)}")


def _picture(frame: np.ndarray, kind: Kind) -> np.ndarray:
    """Contiguous frame with even sides, as the ffmpeg command expects it: (H, W, 3) for colour, else (H, W)."""
    if frame.dtype != np.uint8 or frame.ndim not in (2, 3):
        raise ValueError(f"frames must be uint8 (H, W) or (H, W, 3), not {frame.dtype} {frame.shape}")
    if kind == "colour" and frame.ndim == 2:
        frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB)
    elif kind != "colour" and frame.ndim == 3:
        frame = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        frame = np.pad(frame, [(0, height % 2), (0, width % 2), (0, 0)][: frame.ndim], mode="edge")
    return np.ascontiguousarray(frame)


def _command(
    picture: np.ndarray,
    rate: Fraction,
    path: str | os.PathLike[str],
    kind: Kind,
    crf: int,
    gop: int,
    preset: str,
    comment: str,
    binary: str | None,
) -> list[str]:
    height, width = picture.shape[:2]
    value_range = "tv" if kind == "colour" else "pc"
    source = ffmpeg.input(
        "pipe:0",
        protocol_whitelist="pipe",
        format="rawvideo",
        pix_fmt="rgb24" if kind == "colour" else "gray",
        s=f"{width}x{height}",
        framerate=f"{rate.numerator}/{rate.denominator}",
    )
    stream = source.video.filter(
        "scale",
        in_range="pc",
        out_range=value_range,
        out_color_matrix="bt709",
        flags="bicubic+accurate_rnd+full_chroma_int+bitexact",
    )
    stream = stream.filter("format", "yuv420p").filter(
        "setparams", color_primaries="bt709", color_trc="bt709"
    )
    options: dict[str, Any] = {
        "format": "mp4",
        "c:v": "libx264",
        "preset": preset,
        "g": gop,
        "threads": 1,
        "x264-params": X264,
        "flags": "+bitexact",
        "fflags": "+bitexact",
        "movflags": "+faststart",
        "map_metadata": -1,
    }
    options["qp" if kind == "mask" else "crf"] = 0 if kind == "mask" else crf
    if comment:
        options["metadata"] = f"comment={comment}"
    return argv(stream.output(file_url(path), **options), binary)
