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

_BATCH_BYTES = 64_000_000


class VideoReader:
    """Random access to the frames of a video file; a context manager.

    decord decodes if it can do so exactly; otherwise, or from the first frame that it cannot decode, ffmpeg does.
    Frames that an edit list hides are left out. Damaged frames are left out if the damage is known on opening; if it
    is found later, the previous frame is used in their place and counted in `held`.

    Args:
        path: the file.
        ffmpeg: path of an ffmpeg to use instead of the bundled one.
        backend: the decoder to use; None chooses.

    Attributes:
        info: what `probe` returns, with number, rate and duration of the frames that can be read.
        times_F: float64 seconds of each frame, ascending; the first shown frame is at 0.

    Raises:
        Refusal: see `probe`; `damaged` if too little of the stream can be decoded.
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
                raise UnfitError("ffmpeg is wanted")
            self._frames = DecordFrames(path, self._container)
        except UnfitError as error:
            if backend == "decord":
                raise Refusal("damaged", "decord cannot decode the stream exactly") from error
            self._frames = FfmpegFrames(path, self._container, ffmpeg)
        self._sequential: FfmpegFrames | None = None  # for `stream`
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
        """The decoder of the next frame."""
        return "decord" if isinstance(self._frames, DecordFrames) else "ffmpeg"

    @property
    def handful(self) -> int:
        """Number of frames to read at once: 8 (50 MB at 1080p), fewer for larger frames, at least 1."""
        return min(max(_BATCH_BYTES // (self.info.width * self.info.height * 3), 1), 8)

    @property
    def held(self) -> int:
        """Number of frames delivered so far that cannot be decoded and were replaced by the previous one."""
        readers = (self._frames, self._sequential)
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
        """Free the decoder; reading afterwards is an error."""
        self._frames.close()
        if self._sequential is not None:
            self._sequential.close()

    def read(self, indices: Iterable[int]) -> np.ndarray:
        """Frames at `indices`, in their order: uint8 (N, H, W, 3), all in memory at once.

        Raises:
            IndexError: an index below 0 or beyond the last frame.
            Refusal: `damaged` if most of these frames cannot be decoded.
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

        Use it for many frames in order. Those of a long video come from ffmpeg: decord would decode ahead without limit
        or, restarted as in `read`, decode much of the video again for every batch.
        """
        wanted = np.fromiter(indices, np.int64)
        in_order = isinstance(self._frames, DecordFrames) and self._frames.bounded
        if in_order and self._sequential is None:
            self._sequential = FfmpegFrames(self._path, self._container, self._ffmpeg)
        for first in range(0, len(wanted), size):
            yield self._read(wanted[first : first + size], self._sequential)

    def _read(self, indices_N: np.ndarray, sequential: FfmpegFrames | None = None) -> np.ndarray:
        if not indices_N.size:
            return np.empty((0, self.info.height, self.info.width, 3), np.uint8)
        if not 0 <= indices_N.min() <= indices_N.max() < len(self):
            raise IndexError(f"frames {indices_N.min()}..{indices_N.max()} of a video of {len(self)}")
        try:
            frames_NHWC = (sequential or self._frames).read(indices_N)
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
    """Frames of a video in memory, such as a member of a shard: uint8 (N, H, W, 3).

    Only the groups of pictures with the wanted frames are decoded.

    Args:
        data: a file that `encode` wrote.
        indices: frame numbers in any order; None for all.

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
