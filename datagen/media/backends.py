"""The two ways to the frames of a stream: decord inside the process, ffmpeg beside it.

decord is quick at random access but trusts what it is given: it shows frames that an edit list hides, repeats
neighbours where frames do not decode, and fails on streams cut short. It is used where the container's packets and its
own index agree frame by frame; everything else goes to ffmpeg, which decodes the stream in order and says when each
frame is shown.

Shapes: N frames, H height, W width, C = 3 (RGB).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from fractions import Fraction
from typing import IO

import decord
import ffmpeg
import numpy as np

from datagen.common.errors import Refusal
from datagen.media.ffmpeg import CONTAINERS, PROTOCOLS, argv, check_alive, file_url, running, start
from datagen.media.probe import Container

decord.logging.set_level(decord.logging.QUIET)

DECORD_ERRORS = (decord.DECORDError, decord.DECORDLimitReachedError, RuntimeError, AssertionError)
"""What decord raises: its own errors, and plain ones from its Python layer."""

AHEAD_BYTES = 256_000_000
"""Videos whose frames take less in all are left to decord's unbounded decoding ahead."""

SEEK_S = 20.0
"""ffmpeg seeks instead of decoding on when the wanted frame is this many seconds ahead."""


class UnfitError(Exception):
    """decord cannot give exactly the frames that the container lists; the reader then takes ffmpeg."""


class DecordFrames:
    """Random access by decord.

    Args:
        path: the file.
        container: what `probe.inspect` found in it.

    Attributes:
        times_F: seconds on the file's clock.
        bounded: the video is too large to let decord decode ahead, so every `read` starts from a key frame.

    Raises:
        UnfitError: on opening or reading, where decord fails or its index differs from the container's packets.
    """

    def __init__(self, path: str | os.PathLike[str], container: Container) -> None:
        if not container.sound:
            raise UnfitError("the packets do not list the frames exactly")
        self.times_F = container.times_F
        self._shape = _turned_shape(container)
        try:
            # Any repeated neighbour is over this tolerance, so that decord raises instead of hiding a loss.
            self._reader = decord.VideoReader(
                file_url(path), num_threads=1, fault_tol=0.5 / len(self.times_F)
            )
            starts_F = self._reader.get_frame_timestamp(range(len(self._reader)))[:, 0]
        except DECORD_ERRORS as error:
            raise UnfitError(str(error)) from error
        # decord decodes ahead without limit while the caller works on the frames it has.
        self.bounded = self._shape[0] * self._shape[1] * 3 * len(starts_F) > AHEAD_BYTES
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
            raise UnfitError("decord turns the picture another way")
        return frames_NHWC

    def close(self) -> None:
        """Frees the decoder."""
        del self._reader


class FfmpegFrames:
    """Frames in order from an ffmpeg process; going back or far ahead starts another one there.

    ffmpeg says the time of each frame beside its pixels, so a frame that does not decode is noticed where it is
    missing: the one before stands in for it. One thread decodes, which makes what is concealed in damaged frames the
    same every time; the pipe holds ffmpeg back, so that only the frame on its way is in memory.

    Args:
        path: the file.
        container: what `probe.inspect` found in it.
        binary: another ffmpeg than the bundled one.

    Attributes:
        times_F: seconds on the file's clock, the container's if its packets list the frames, else found by decoding.
        held: distinct frames delivered so far that are stand-ins.

    Raises:
        Refusal: `damaged` where nothing can be decoded, or in one `read` mostly stand-ins.
        KilledError: ffmpeg was killed on the way, on opening or reading; take a new reader.
    """

    def __init__(self, path: str | os.PathLike[str], container: Container, binary: str | None = None) -> None:
        self._path, self._container, self._binary = path, container, binary
        self.times_F = container.times_F if container.sound else self._decoded_times()
        self.held = 0
        self._tolerance = np.diff(self.times_F).min() / 4 if len(self.times_F) > 1 else 1e-3
        self._running = ExitStack()
        self._frames: Generator[tuple[float, np.ndarray]] | None = None
        self._shown: tuple[float, np.ndarray] | None = None
        self._ahead: tuple[float, np.ndarray] | None = None

    def read(self, indices_N: np.ndarray) -> np.ndarray:
        """Upright stored frames (N, H, W, C) at the given positions."""
        width, height = self._container.stored_size
        frames_NHWC = np.empty((len(indices_N), height, width, 3), np.uint8)
        wanted, where_N = np.unique(indices_N, return_inverse=True)
        held = 0
        for rank, index in enumerate(wanted):
            time_s, frame_HWC = self._at(self.times_F[index])
            held += abs(time_s - self.times_F[index]) > self._tolerance
            frames_NHWC[where_N == rank] = frame_HWC
        self.held += held
        if held > len(wanted) / 2:
            first, last = self.times_F[wanted[[0, -1]]] - self.times_F[0]
            raise Refusal(
                "damaged",
                f"{held} of {len(wanted)} frames from {first:.2f} s to {last:.2f} s cannot be decoded",
            )
        return np.ascontiguousarray(np.rot90(frames_NHWC, self._container.info.rotation // 90, axes=(1, 2)))

    def close(self) -> None:
        """Ends the process."""
        self._running.close()
        self._frames = self._shown = self._ahead = None

    def _at(self, time_s: float) -> tuple[float, np.ndarray]:
        """Last frame shown at `time_s` and its own time; the first one of all where there is none yet."""
        reached = self._shown[0] if self._shown is not None else -np.inf
        if self._frames is None or not 0 <= time_s + self._tolerance - reached < SEEK_S:
            self._restart(time_s - SEEK_S / 4 if time_s - self.times_F[0] > SEEK_S else None)
            if self._ahead is None or self._ahead[0] > time_s:
                self._restart(None)  # seeking missed, which some containers without an index do
        assert self._frames is not None
        while self._ahead is not None and (self._shown is None or self._ahead[0] <= time_s + self._tolerance):
            self._shown, self._ahead = self._ahead, next(self._frames, None)
        if self._shown is None:
            raise self._nothing()
        return self._shown

    def _restart(self, seek_s: float | None) -> None:
        self.close()
        self._frames = self._running.enter_context(closing(self._decoded(seek_s)))
        self._ahead = next(self._frames, None)

    def _decoded(self, seek_s: float | None) -> Generator[tuple[float, np.ndarray]]:
        """Every frame ffmpeg decodes, with its time, from the last key frame before `seek_s` on."""
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
                for stamp in _whole(stamps):
                    data = process.stdout.read(width * height * 3)
                    if len(data) < width * height * 3:
                        break
                    frames += 1
                    yield _seconds(stamp), np.frombuffer(data, np.uint8).reshape(height, width, 3)
                _check_end(process, frames)

    def _decoded_times(self) -> np.ndarray:
        """Times (seconds, ascending, none that the container hides) of all frames that decode, in one pass."""
        earliest = min(self._container.times_F[0], 0.0)
        times: list[float] = []
        process = start(self._command(1, None, format="null"), stdout=subprocess.PIPE)
        with running(process):
            assert process.stdout is not None
            for stamp in _whole(process.stdout):
                time_s = _seconds(stamp)
                if time_s >= earliest and (not times or time_s > times[-1]):
                    times.append(time_s)
            _check_end(process, len(times))
        if not times:
            raise self._nothing()
        return np.array(times)

    def _nothing(self) -> Refusal:
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
        # Streams may change size on the way; the scaler holds the first one and uses the filter decord uses.
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


def _whole(stamps: IO[bytes]) -> Iterator[bytes]:
    """Lines that ffmpeg finished; what a killed one left of the last line may be another number."""
    for stamp in stamps:
        if stamp.endswith(b"\n"):
            yield stamp


def _check_end(process: subprocess.Popen[bytes], frames: int) -> None:
    """Make sure that ffmpeg stopped where the stream ends.

    Damage does not make it fail as long as a frame decodes; without any it says so by its status.

    Raises:
        KilledError: it was killed.
        Refusal: it failed on the way.
    """
    assert process.stdout is not None
    while process.stdout.read(1 << 16):
        pass  # else it might wait for ever to be read
    status = process.wait()
    check_alive(status)
    if status and frames:
        raise Refusal("damaged", f"the decoder gave up after {frames} frames (status {status})")


def _seconds(stamp: bytes) -> float:
    """Time of a line "<ticks> <seconds per tick as a fraction>"."""
    ticks, base = stamp.decode().split()
    return float(int(ticks) * Fraction(base))


def _turned_shape(container: Container) -> tuple[int, int]:
    """Height and width of an upright frame as stored, before pixels are made square."""
    width, height = container.stored_size
    return (width, height) if container.info.rotation % 180 else (height, width)
