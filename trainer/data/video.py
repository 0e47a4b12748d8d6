"""Decodes chosen frames of a stream in memory, with as little work as H.264 allows.

The pixels equal those of `datagen.media.decode_bytes`, in about half its time: no first frame is decoded to probe the
stream, pictures that no other picture refers to are skipped unless they are wanted, and only the luma plane of grey
streams is read. It reads only files that `datagen.media.encode` wrote.
"""

from __future__ import annotations

import io
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from trainer.data.errors import StreamError

_OPEN_FAST = {"probesize": "32", "analyzeduration": "0", "skip_frame": "all"}
_SLICES = (1, 5)  # NAL unit types of coded pictures
_FULL_RANGE = 2
_KEY_DISTANCE = 12  # usual number of frames from one key frame to the next


@dataclass(frozen=True)
class Frames:
    """Decoded frames and which ones they are.

    Attributes:
        numbers_N: frame numbers, computed from the time stamps in the stream.
        pixels: uint8 (N, H, W, 3) RGB, or (N, H, W) grey.
    """

    numbers_N: np.ndarray
    pixels: np.ndarray

    def at(self, indices: np.ndarray) -> Frames:
        """Frames by ascending numbers, all of which must be present; views where the frames are adjacent."""
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
        clip_frames: frames the stream must have; with another number, the streams of a clip would not match in time.
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


def _decode(container: InputContainer, wanted: list[int], clip_frames: int, grey: bool) -> Frames:
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
    times = [first + round(number * step) for number in wanted]
    row_of = {time: row for row, time in enumerate(times)}
    numbers_N = np.full(len(wanted), -1)
    pixels: np.ndarray | None = None
    for rows in _runs(wanted):
        if (numbers_N[rows] >= 0).all():
            continue
        container.seek(times[rows.start], stream=stream, backward=True)
        for time, frame in _pictures(container, stream, row_of):
            row = row_of[time]
            if numbers_N[row] >= 0:
                continue
            picture = _luma(frame) if grey else frame.to_ndarray(format="rgb24")
            if pixels is None:
                pixels = np.empty((len(wanted), *picture.shape), np.uint8)
            pixels[row] = picture
            numbers_N[row] = round((time - first) / step)
            if (numbers_N[rows] >= 0).all():
                break
    lost = int((numbers_N < 0).sum())
    if pixels is None or lost:
        raise StreamError(f"lacks {lost} of the frames {wanted}")
    return Frames(numbers_N, pixels)


def _runs(wanted: list[int]) -> Iterator[slice]:
    """Groups of rows whose frames are near each other; between groups a seek is faster than decoding on."""
    ends = [row for row in range(1, len(wanted)) if wanted[row] - wanted[row - 1] > _KEY_DISTANCE]
    for start, stop in pairwise([0, *ends, len(wanted)]):
        yield slice(start, stop)


def _pictures(
    container: InputContainer, stream: VideoStream, wanted: Container[int]
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield time stamp and picture of each wanted frame, from the current position on; skip what none of them needs."""
    for packet in container.demux(stream):
        if packet.pts is not None and packet.pts not in wanted and _is_disposable(packet):
            continue
        for frame in packet.decode():
            if frame.pts is not None and frame.pts in wanted:
                yield frame.pts, frame


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
    """(H, W) view of the luma plane, which is the grey picture itself where it was stored in full range."""
    if frame.color_range != _FULL_RANGE:
        return frame.to_ndarray(format="gray")
    plane = frame.planes[0]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
