"""Frames of a video file by number, upright, with exact times, in bounded memory."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Literal, Self

import cv2
import decord
import numpy as np

from datagen.common.errors import Refusal
from datagen.media.backends import DECORD_ERRORS, DecordFrames, FfmpegFrames, UnfitError
from datagen.media.probe import describe, inspect

HANDFUL_BYTES = 64_000_000


class VideoReader:
    """Random access to a video file's frames; a context manager.

    decord decodes where it can be exact; otherwise, at once or from the first frame it cannot decode, ffmpeg does.
    Frames that an edit list hides do not exist here. Frames lost to damage are left out where that is known on
    opening; where it only shows later, the neighbour before stands in, and `held` counts it.

    Args:
        path: the file.
        ffmpeg: another ffmpeg binary than the bundled one.
        backend: take this one; `None` chooses.

    Attributes:
        info: as `probe`, its frames, rate and duration those of the frames that can be read.
        times_F: float64 seconds of each frame, ascending; the first shown frame is at 0.

    Raises:
        Refusal: see `probe`; `damaged` where too little of the stream can be decoded.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        ffmpeg: str | None = None,
        backend: Literal["decord", "ffmpeg"] | None = None,
    ) -> None:
        self._path, self._ffmpeg = path, ffmpeg
        self._container = inspect(path)
        self._frames: DecordFrames | FfmpegFrames
        try:
            if backend == "ffmpeg":
                raise UnfitError("not asked for")
            self._frames = DecordFrames(path, self._container)
        except UnfitError as error:
            if backend == "decord":
                raise Refusal("damaged", "decord cannot decode the stream exactly") from error
            self._frames = FfmpegFrames(path, self._container, ffmpeg)
        self._passes: FfmpegFrames | None = None
        self.times_F = self._frames.times_F - self._frames.times_F[0]
        fps, duration_s, constant = describe(self.times_F, self._container.declared_fps)
        self.info = replace(
            self._container.info,
            frames=len(self.times_F),
            fps=fps,
            duration_s=duration_s,
            constant_rate=constant,
        )

    @property
    def backend(self) -> Literal["decord", "ffmpeg"]:
        """Which decoder the next frame comes from."""
        return "decord" if isinstance(self._frames, DecordFrames) else "ffmpeg"

    @property
    def handful(self) -> int:
        """Frames to ask for at once: at most 8 (50 MB at 1080p), fewer where they are larger, at least 1."""
        return min(max(HANDFUL_BYTES // (self.info.width * self.info.height * 3), 1), 8)

    @property
    def held(self) -> int:
        """Frames delivered so far that do not decode and are shown by a neighbour."""
        readers = (self._frames, self._passes)
        return sum(reader.held for reader in readers if isinstance(reader, FfmpegFrames))

    def __len__(self) -> int:
        return len(self.times_F)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees the decoder; reading afterwards is an error."""
        self._frames.close()
        if self._passes is not None:
            self._passes.close()

    def read(self, indices: Iterable[int]) -> np.ndarray:
        """Frames at `indices`, in their order: uint8 (N, H, W, 3), N as many as asked for, all in memory at once.

        Raises:
            IndexError: an index below 0 or beyond the last frame.
            Refusal: `damaged` where most of the stream cannot be decoded.
        """
        return self._read(np.fromiter(indices, np.int64))

    def batches(
        self, start: int = 0, stop: int | None = None, step: int = 1, size: int = 32
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Indices (N,) and frames (N, H, W, 3) of `range(start, stop, step)`, at most `size` frames at a time."""
        wanted = np.arange(*slice(start, stop, step).indices(len(self)))
        frames = self.stream(wanted, size)
        for first in range(0, len(wanted), size):
            yield wanted[first : first + size], next(frames)

    def stream(self, indices: Iterable[int], size: int = 32) -> Iterator[np.ndarray]:
        """Frames (N, H, W, 3) at ascending `indices`, repeats allowed, at most `size` at a time.

        The way through many frames in order: of a long video they come from ffmpeg, since decord would decode ahead
        without limit or, held back as in `read`, decode much of it again for every batch.
        """
        wanted = np.fromiter(indices, np.int64)
        in_order = isinstance(self._frames, DecordFrames) and self._frames.bounded
        if in_order and self._passes is None:
            self._passes = FfmpegFrames(self._path, self._container, self._ffmpeg)
        for first in range(0, len(wanted), size):
            yield self._read(wanted[first : first + size], self._passes)

    def _read(self, indices_N: np.ndarray, passes: FfmpegFrames | None = None) -> np.ndarray:
        if not indices_N.size:
            return np.empty((0, self.info.height, self.info.width, 3), np.uint8)
        if not 0 <= indices_N.min() <= indices_N.max() < len(self):
            raise IndexError(f"frames {indices_N.min()}..{indices_N.max()} of a video of {len(self)}")
        try:
            frames_NHWC = (passes or self._frames).read(indices_N)
        except UnfitError:
            self._frames.close()
            self._frames = FfmpegFrames(self._path, self._container, self._ffmpeg)
            frames_NHWC = self._frames.read(indices_N)
        return self._square_pixels(frames_NHWC)

    def _square_pixels(self, frames_NHWC: np.ndarray) -> np.ndarray:
        size = (self.info.width, self.info.height)
        if frames_NHWC.shape[2:0:-1] == size:
            return frames_NHWC
        return np.stack([cv2.resize(frame_HWC, size) for frame_HWC in frames_NHWC])


def decode_bytes(data: bytes, indices: Iterable[int] | None = None) -> np.ndarray:
    """Frames of a video held in memory, such as a member of a shard: uint8 (N, H, W, 3).

    Only the groups of pictures around the wanted frames are decoded.

    Args:
        data: a file that `encode` wrote.
        indices: frame numbers in any order; `None` for all.

    Raises:
        Refusal: `empty_file` or `damaged`.
        IndexError: an index below 0 or beyond the last frame.
    """
    if not data:
        raise Refusal("empty_file", "the stream has no bytes")
    try:
        reader = decord.VideoReader(io.BytesIO(data), num_threads=1)
        indices_N = np.arange(len(reader)) if indices is None else np.fromiter(indices, np.int64)
        if not indices_N.size:
            return reader.get_batch([0]).asnumpy()[:0]
        if not 0 <= indices_N.min() <= indices_N.max() < len(reader):
            raise IndexError(f"frames {indices_N.min()}..{indices_N.max()} of a stream of {len(reader)}")
        frames_NHWC: np.ndarray = reader.get_batch(indices_N).asnumpy()
    except DECORD_ERRORS as error:
        raise Refusal("damaged", "the stream cannot be decoded") from error
    return frames_NHWC
