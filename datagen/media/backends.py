"""Two decoders: decord in this process, ffmpeg in another one.

decord has fast random access but does not detect bad input: it shows frames that an edit list hides, repeats neighbours
of frames that cannot be decoded, and fails on truncated streams. It is used where its index and the container's packets
agree frame by frame. All other files are decoded by ffmpeg, in order and with the time of each frame.

Shapes: N frames, H height, W width, C = 3 (RGB).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from fractions import Fraction
from typing import IO

import cv2  # noqa: F401  # if decord is loaded first, OpenCV cannot decode PNG
import decord
import ffmpeg
import numpy as np

from datagen.common.errors import Refusal
from datagen.media.ffmpeg import CONTAINERS, PROTOCOLS, argv, check_alive, file_url, running, start
from datagen.media.probe import Container

decord.logging.set_level(decord.logging.QUIET)

DECORD_ERRORS = (decord.DECORDError, decord.DECORDLimitReachedError, RuntimeError, AssertionError)
"""Errors of decord: its own, and built-in ones from its Python layer."""

DECODE_AHEAD_BYTES = 256_000_000
"""decord decodes ahead without limit, which is allowed where all frames of the video together take less than this."""

SEEK_S = 20.0
"""ffmpeg seeks to a frame that is at least this many seconds ahead, and decodes up to a nearer one."""


class UnfitError(Exception):
    """decord cannot give exactly the frames that the container lists; the reader then uses ffmpeg."""


class DecordFrames:
    """Random access by decord.

    Args:
        path: the file.
        container: what `probe.inspect` found in it.

    Attributes:
        times_F: seconds on the file's clock.
        bounded: the video is too large to decode ahead, so every `read` starts at a key frame.

    Raises:
        UnfitError: on opening or reading, if decord fails or its index differs from the container's packets.
    """

    def __init__(self, path: str | os.PathLike[str], container: Container) -> None:
        if not container.sound:
            raise UnfitError("the packets do not list the frames exactly")
        self.times_F = container.times_F
        self._shape = _turned_shape(container)
        try:
            # Below one frame, so that decord raises an error instead of repeating a neighbour of a lost frame.
            self._reader = decord.VideoReader(
                file_url(path), num_threads=1, fault_tol=0.5 / len(self.times_F)
            )
            starts_F = self._reader.get_frame_timestamp(range(len(self._reader)))[:, 0]
        except DECORD_ERRORS as error:
            raise UnfitError(str(error)) from error
        self.bounded = self._shape[0] * self._shape[1] * 3 * len(starts_F) > DECODE_AHEAD_BYTES
        self._skip = len(starts_F) - len(self.times_F)  # frames before time zero
        step_s = 1 / container.info.fps
        if self._skip < 0 or not np.allclose(
            starts_F[self._skip :], self.times_F - container.origin_s, rtol=0, atol=step_s / 4
        ):
            raise UnfitError("decord's index differs from the packets")

    def read(self, indices_N: np.ndarray) -> np.ndarray:
        """Upright stored frames (N, H, W, C) at the given positions."""
        try:
            frames_NHWC = self._reader.get_batch(indices_N + self._skip).asnumpy()
            if self.bounded:
                self._reader.seek(0)  # empties its queues
        except DECORD_ERRORS as error:
            raise UnfitError(str(error)) from error
        if frames_NHWC.shape[1:3] != self._shape:
            raise UnfitError("decord rotates the picture in another way")
        return frames_NHWC

    def close(self) -> None:
        """Free the decoder."""
        del self._reader


class FfmpegFrames:
    """Frames in order from an ffmpeg process; a jump back or far ahead starts a new process.

    ffmpeg gives the time of each frame beside its pixels, so a frame that cannot be decoded is noticed; the previous
    one is used in its place. ffmpeg has one thread, so that its concealment of damage is always the same. It waits
    while the pipe is full, so only about one frame is in memory.

    Args:
        path: the file.
        container: what `probe.inspect` found in it.
        binary: path of an ffmpeg to use instead of the bundled one.

    Attributes:
        times_F: seconds on the file's clock: from the container if its packets list the frames, else from decoding.
        held: number of distinct frames delivered so far in whose place another one was used.

    Raises:
        Refusal: `damaged` if nothing can be decoded, or if most frames of one `read` cannot.
        KilledError: ffmpeg was killed, on opening or reading; a new reader is needed.
    """

    def __init__(self, path: str | os.PathLike[str], container: Container, binary: str | None = None) -> None:
        self._path, self._container, self._binary = path, container, binary
        self.times_F = container.times_F if container.sound else self._decoded_times()
        self.held = 0
        self._tolerance = np.diff(self.times_F).min() / 4 if len(self.times_F) > 1 else 1e-3
        self._running = ExitStack()
        self._frames: Generator[tuple[float, np.ndarray]] | None = None
        self._current: tuple[float, np.ndarray] | None = None
        self._next: tuple[float, np.ndarray] | None = None

    def read(self, indices_N: np.ndarray) -> np.ndarray:
        """Upright stored frames (N, H, W, C) at the given positions."""
        width, height = self._container.stored_size
        frames_NHWC = np.empty((len(indices_N), height, width, 3), np.uint8)
        wanted, where_N = np.unique(indices_N, return_inverse=True)
        held = 0
        for number, index in enumerate(wanted):
            time_s, frame_HWC = self._frame_at(self.times_F[index])
            held += abs(time_s - self.times_F[index]) > self._tolerance
            frames_NHWC[where_N == number] = frame_HWC
        self.held += held
        if held > len(wanted) / 2:
            first, last = self.times_F[wanted[[0, -1]]] - self.times_F[0]
            raise Refusal(
                "damaged",
                f"{held} of {len(wanted)} frames from {first:.2f} s to {last:.2f} s cannot be decoded",
            )
        return np.ascontiguousarray(np.rot90(frames_NHWC, self._container.info.rotation // 90, axes=(1, 2)))

    def close(self) -> None:
        """End the process."""
        self._running.close()
        self._frames = self._current = self._next = None

    def _frame_at(self, time_s: float) -> tuple[float, np.ndarray]:
        """The last frame that is not later than `time_s`, with its own time; before the first frame, the first one."""
        reached = self._current[0] if self._current is not None else -np.inf
        if self._frames is None or not 0 <= time_s + self._tolerance - reached < SEEK_S:
            self._restart(time_s - SEEK_S / 4 if time_s - self.times_F[0] > SEEK_S else None)
            if self._next is None or self._next[0] > time_s:
                self._restart(None)  # ffmpeg seeked too far, as happens in some containers without an index
        assert self._frames is not None
        while self._next is not None and (self._current is None or self._next[0] <= time_s + self._tolerance):
            self._current, self._next = self._next, next(self._frames, None)
        if self._current is None:
            raise self._no_frame()
        return self._current

    def _restart(self, seek_s: float | None) -> None:
        self.close()
        self._frames = self._running.enter_context(closing(self._decoded(seek_s)))
        self._next = next(self._frames, None)

    def _decoded(self, seek_s: float | None) -> Generator[tuple[float, np.ndarray]]:
        """Each decoded frame with its time, from the last key frame before `seek_s` on, or from the start."""
        width, height = self._container.stored_size
        stamps_out, stamps_in = os.pipe()
        with open(stamps_out, "rb") as stamps:
            try:
                command = self._command(stamps_in, seek_s, format="rawvideo", pix_fmt="rgb24")
                process = start(command, stdout=subprocess.PIPE, pass_fds=(stamps_in,))
            finally:
                os.close(stamps_in)
            with running(process):
                assert process.stdout is not None
                frames = 0
                for stamp in _complete_lines(stamps):
                    data = process.stdout.read(width * height * 3)
                    if len(data) < width * height * 3:
                        break
                    frames += 1
                    yield _seconds(stamp), np.frombuffer(data, np.uint8).reshape(height, width, 3)
                _check_end(process, frames)

    def _decoded_times(self) -> np.ndarray:
        """Times in seconds, ascending, of all frames that can be decoded and that the container does not hide."""
        earliest = min(self._container.times_F[0], 0.0)
        times: list[float] = []
        process = start(self._command(1, None, format="null"), stdout=subprocess.PIPE)
        with running(process):
            assert process.stdout is not None
            for stamp in _complete_lines(process.stdout):
                time_s = _seconds(stamp)
                if time_s >= earliest and (not times or time_s > times[-1]):
                    times.append(time_s)
            _check_end(process, len(times))
        if not times:
            raise self._no_frame()
        return np.array(times)

    def _no_frame(self) -> Refusal:
        return Refusal("damaged", f"no frame of the {self._container.info.codec} stream can be decoded")

    def _command(self, stamps: int, seek_s: float | None, **output: str) -> list[str]:
        width, height = self._container.stored_size
        seek = {} if seek_s is None else {"ss": seek_s, "seek_timestamp": 1, "noaccurate_seek": None}
        source = ffmpeg.input(
            file_url(self._path),
            protocol_whitelist=PROTOCOLS,
            format_whitelist=CONTAINERS,
            threads=1,
            fflags="+discardcorrupt",
            noautorotate=None,
            **seek,
        )
        # A stream may change its size; all frames are scaled to the first size, with the same filter as in decord.
        picture = source[str(self._container.stream)].filter("scale", width, height, flags="bilinear")
        options = {
            "c:v": "rawvideo",
            "fps_mode": "passthrough",
            "enc_time_base": "demux",
            "stats_enc_pre": f"pipe:{stamps}",
            "stats_enc_pre_fmt": "{pts} {tb}",
            **output,
        }
        return argv(
            ffmpeg.output(picture, "pipe:1", copyts=None, max_error_rate="1", **options), self._binary
        )


def _complete_lines(stamps: IO[bytes]) -> Iterator[bytes]:
    """Complete lines; the last line of a killed ffmpeg may be cut off and show another number."""
    for stamp in stamps:
        if stamp.endswith(b"\n"):
            yield stamp


def _check_end(process: subprocess.Popen[bytes], frames: int) -> None:
    """Check that ffmpeg decoded up to the end of the stream.

    With damage in the stream its status is still 0, unless no frame can be decoded.

    Raises:
        KilledError: it was killed.
        Refusal: `damaged`, it failed after some frames.
    """
    assert process.stdout is not None
    while process.stdout.read(1 << 16):
        pass  # a full pipe would block ffmpeg for ever
    status = process.wait()
    check_alive(status)
    if status and frames:
        raise Refusal("damaged", f"the decoder gave up after {frames} frames (status {status})")


def _seconds(stamp: bytes) -> float:
    """Seconds of a line "<ticks> <seconds per tick as a fraction>"."""
    ticks, base = stamp.decode().split()
    return float(int(ticks) * Fraction(base))


def _turned_shape(container: Container) -> tuple[int, int]:
    """Height and width of an upright frame, before pixels are made square."""
    width, height = container.stored_size
    return (width, height) if container.info.rotation % 180 else (height, width)
