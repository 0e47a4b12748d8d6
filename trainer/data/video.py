"""Chosen frames of a stream held in memory, with as little decoding as H.264 allows.

The pixels are those of `datagen.media.decode_bytes` at about half its time: the stream is opened without decoding a
first frame for its description, pictures that no other picture refers to are dropped unless they are wanted, and
of grey streams only the luma plane is taken. It knows only files that `datagen.media.encode` wrote.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np
from av.video.frame import VideoFrame

_OPEN_FAST = {"probesize": "32", "analyzeduration": "0", "skip_frame": "all"}
_SLICES = (1, 5)  # NAL unit types of coded pictures
_FULL_RANGE = 2


class StreamError(Exception):
    """The stream cannot give the frames it should hold."""


@dataclass(frozen=True)
class Frames:
    """Decoded frames and which ones they are.

    Attributes:
        numbers_N: frame numbers as their time stamps in the stream say.
        pixels: uint8 (N, H, W, 3) RGB, or (N, H, W) grey.
    """

    numbers_N: np.ndarray
    pixels: np.ndarray

    def at(self, indices: np.ndarray) -> Frames:
        """The frames of some ascending numbers, all of them present; views where they follow each other."""
        rows = np.searchsorted(self.numbers_N, indices)
        adjoining = rows[-1] - rows[0] == len(rows) - 1
        chosen = slice(rows[0], rows[-1] + 1) if adjoining else rows
        return Frames(self.numbers_N[chosen], self.pixels[chosen])


def decode(
    data: bytes | memoryview, indices: Sequence[int] | np.ndarray, clip_frames: int, *, grey: bool
) -> Frames:
    """Frames at `indices`, ascending and each once.

    Args:
        data: an MP4 file.
        indices: frame numbers in any order.
        clip_frames: frames the stream must have, so that streams of a clip cannot drift apart unnoticed.
        grey: one channel, of streams that were encoded without colour.

    Raises:
        StreamError: the file is damaged, has another number of frames, or lacks one of `indices`.
    """
    wanted = sorted({int(index) for index in indices})
    try:
        with av.open(io.BytesIO(data), "r", options=_OPEN_FAST) as container:
            return _decode(container, wanted, clip_frames, grey)
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise StreamError(f"cannot be decoded: {error}") from error


def _decode(
    container: av.container.InputContainer, wanted: list[int], clip_frames: int, grey: bool
) -> Frames:
    if not container.streams.video:
        raise StreamError("holds no video")
    stream = container.streams.video[0]
    if stream.frames != clip_frames:
        raise StreamError(f"has {stream.frames} frames where the clip has {clip_frames}")
    if not stream.average_rate or not stream.time_base:
        raise StreamError("has no frame rate")
    stream.codec_context.thread_count = 1
    step = float(1 / (stream.average_rate * stream.time_base))
    first = stream.start_time or 0
    row_of = {first + round(number * step): row for row, number in enumerate(wanted)}
    container.seek(min(row_of), stream=stream, backward=True)
    numbers_N = np.full(len(wanted), -1)
    pixels: np.ndarray | None = None
    missing = len(wanted)
    for packet in container.demux(stream):
        if packet.pts is not None and packet.pts not in row_of and _is_disposable(packet):
            continue
        for frame in packet.decode():
            if frame.pts is None:
                continue
            row = row_of.get(frame.pts, -1)
            if row < 0 or numbers_N[row] >= 0:
                continue
            picture = _luma(frame) if grey else frame.to_ndarray(format="rgb24")
            if pixels is None:
                pixels = np.empty((len(wanted), *picture.shape), np.uint8)
            pixels[row] = picture
            numbers_N[row] = round((frame.pts - first) / step)
            missing -= 1
        if not missing:
            break
    if pixels is None or missing:
        raise StreamError(f"lacks {missing} of the frames {wanted}")
    return Frames(numbers_N, pixels)


def _is_disposable(packet: av.Packet) -> bool:
    """Whether no other picture refers to this one: `nal_ref_idc` of its slices is 0 (H.264, 7.4.1)."""
    data = memoryview(packet)
    position = 0
    while position + 5 <= len(data):
        head = data[position + 4]
        if head & 31 in _SLICES:
            return not head >> 5 & 3
        position += 4 + int.from_bytes(data[position : position + 4], "big")
    return False


def _luma(frame: VideoFrame) -> np.ndarray:
    """(H, W) view of the first plane; it is the picture itself where grey was stored in full range."""
    if frame.color_range != _FULL_RANGE:
        return frame.to_ndarray(format="gray")
    plane = frame.planes[0]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
