"""Properties of a video file, read from its container; only one frame is decoded.

The imageio-ffmpeg wheel contains no ffprobe, and the text of `ffmpeg -i` cannot be parsed safely, because a file's
metadata can imitate any line. PyAV gives the results of the same demuxer as values, so this module
uses it: it lists the packets (their times, and which ones an edit list hides), and decodes one frame for the rotation.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from datagen.common.errors import Refusal
from datagen.media.ffmpeg import CONTAINERS, PROTOCOLS

MAX_PIXELS = 64_000_000
"""Larger frames count as a damaged header: a decoder would need gigabytes for one of them."""


@dataclass(frozen=True)
class VideoInfo:
    """A video stream as it is displayed.

    Attributes:
        width: width in pixels, upright and with square pixels.
        height: height in the same pixels.
        fps: frames per second, the average if the rate varies.
        frames: number of frames, without those that an edit list hides.
        duration_s: time from the start of the first frame to the end of the last one.
        constant_rate: every frame is within a quarter of a frame of an even grid.
        has_audio: the file has an audio stream too.
        codec: ffmpeg's name of the codec, such as `h264`.
        rotation: degrees by which the stored picture is turned counter-clockwise for display: 0, 90, 180 or 270.
    """

    width: int
    height: int
    fps: float
    frames: int
    duration_s: float
    constant_rate: bool
    has_audio: bool
    codec: str
    rotation: int


@dataclass(frozen=True, eq=False)
class Container:
    """Information for decoding.

    Attributes:
        info: what `probe` returns.
        stream: index of the video stream in the file.
        stored_size: width and height of the coded frames.
        times_F: float64 seconds of every shown frame on the file's clock, ascending.
        origin_s: start of the stream on the file's clock.
        sound: the packets list the frames exactly: all have distinct times, none is corrupt or hidden.
        declared_fps: rate that the container states, or 0.
    """

    info: VideoInfo
    stream: int
    stored_size: tuple[int, int]
    times_F: np.ndarray
    origin_s: float
    sound: bool
    declared_fps: float


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Properties of the video file `path`.

    Raises:
        Refusal: `empty_file`, `unreadable`, `no_video`, or `damaged` if the stream has no frame or an impossible size.
    """
    return inspect(path).info


def inspect(path: str | os.PathLike[str]) -> Container:
    """As `probe`, with the information for `VideoReader`."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError as error:
        raise Refusal("unreadable", "the file's name is not UTF-8", "rename it") from error
    try:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise Refusal("empty_file", "the file has no bytes", "fetch it again")
            # An open file, because a name could be taken for a protocol or an option.
            options = {"protocol_whitelist": PROTOCOLS, "format_whitelist": CONTAINERS}
            with av.open(file, options=options, metadata_errors="replace") as container:
                return _inspect(container)
    except OSError as error:
        if isinstance(error, av.FFmpegError):
            raise Refusal("unreadable", "the file is not a video that ffmpeg can open") from error
        raise Refusal("unreadable", f"the file cannot be read: {error.strerror}") from error
    except (
        av.FFmpegError,
        ValueError,
        IndexError,
    ) as error:  # IndexError: packets of streams that PyAV has not listed
        raise Refusal("unreadable", "the file is not a video that ffmpeg can open") from error


def describe(times_F: np.ndarray, declared_fps: float) -> tuple[float, float, bool]:
    """Average rate, duration in seconds, and whether the rate is constant, of frames at `times_F` (F >= 1)."""
    frames = len(times_F)
    span = float(times_F[-1] - times_F[0])
    fps = (frames - 1) / span if span > 0 else declared_fps or 25.0
    grid = times_F[0] + np.linspace(0, span, frames)
    constant = bool(np.abs(times_F - grid).max() <= 0.25 / fps)
    if constant and declared_fps and abs(fps / declared_fps - 1) < 1e-3:
        fps = declared_fps  # times in whole milliseconds give the rate only roughly
    return fps, span + 1 / fps, constant


def _inspect(container: Any) -> Container:
    stream = container.streams.best("video")
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
        raise Refusal("no_video", "the file has no video stream")
    if stream.codec_context is None:
        raise Refusal("unreadable", "the video stream's codec is unknown")
    width, height = stream.codec_context.width, stream.codec_context.height
    if not 0 < width * height <= MAX_PIXELS:
        raise Refusal("damaged", f"the stream states an impossible picture size of {width} x {height}")
    shown, sound, rotation = _packets(container, stream)
    if not shown:
        raise Refusal("damaged", "the video stream holds no frames")
    times_F = np.array([float(time) for time in shown])
    declared = float(stream.average_rate or 0)
    fps, duration_s, constant = describe(times_F, declared)
    shown_width, shown_height = _display_size(width, height, stream.sample_aspect_ratio, rotation)
    info = VideoInfo(
        width=shown_width,
        height=shown_height,
        fps=fps,
        frames=len(shown),
        duration_s=duration_s,
        constant_rate=constant,
        has_audio=bool(container.streams.audio),
        codec=stream.codec_context.codec.canonical_name,
        rotation=rotation,
    )
    origin_s = float((stream.start_time or 0) * stream.time_base)
    return Container(info, stream.index, (width, height), times_F, origin_s, sound, declared)


def _packets(container: Any, stream: Any) -> tuple[list[Fraction], bool, int]:
    """Times of the shown frames, whether the list is exact, and the rotation of the first frame that decodes."""
    times: set[Fraction] = set()
    rotation: int | None = None
    count = hidden = corrupt = 0
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            count += 1
            stamp = packet.pts if packet.pts is not None else packet.dts
            hidden += packet.is_discard
            corrupt += packet.is_corrupt or packet.pts is None
            if stamp is not None and not packet.is_discard and not packet.is_corrupt:
                times.add(stamp * packet.time_base)
            if rotation is None:
                rotation = _rotation(packet)
    except (av.FFmpegError, IndexError):
        corrupt += 1  # the file is truncated, or has streams that appear late; earlier packets are kept
    # Frames before time 0 are hidden by an edit list; in an MPEG transport stream they precede a wrap of its clock.
    wraps = container.format.name == "mpegts"
    shown = sorted(time for time in times if time >= 0 or wraps) or sorted(times)
    return shown, not hidden and not corrupt and len(times) == count, rotation or 0


def _rotation(packet: Any) -> int | None:
    try:
        frames = packet.decode()
    except av.FFmpegError:
        return None
    return round(frames[0].rotation / 90) * 90 % 360 if frames else None


def _display_size(width: int, height: int, aspect: Fraction | None, rotation: int) -> tuple[int, int]:
    """Upright size with square pixels; pixel aspects within 2 % of 1, or beyond a factor of 4, are taken as square."""
    ratio = float(aspect or 1)
    if 1.02 < ratio <= 4:
        width = round(width * ratio)
    elif 0.25 <= ratio < 0.98:
        height = round(height / ratio)
    return (height, width) if rotation % 180 else (width, height)
