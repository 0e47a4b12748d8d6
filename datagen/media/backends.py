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
from contextlib import ExitStack
from fractions import Fraction

import decord
import ffmpeg
import numpy as np

from datagen.errors import Refusal
from datagen.media.ffmpeg import CONTAINERS, PROTOCOLS, argv, file_url, running
from datagen.media.probe import Container

decord.logging.set_level(decord.logging.QUIET)

DECORD_ERRORS = (
    decord.DECORDError,
    decord.DECORDLimitReachedError,
    RuntimeError,
    AssertionError,
    UnicodeError,
)
"""What decord raises: its own errors, plain ones from its Python layer, and for names that are not UTF-8."""


class Unfit(Exception):
    """decord cannot give exactly the frames that the container lists; the reader then takes ffmpeg."""


class DecordFrames:
    """Random access by decord.

    Args:
        path: the file.
        container: what `probe.inspect` found in it.

    Raises:
        Unfit: on opening or reading, where decord fails or its index differs from the container's packets.
    """

    def __init__(self, path: str | os.PathLike[str], container: Container) -> None:
        if not container.sound:
            raise Unfit("the packets do not list the frames exactly")
        self.times_F = container.times_F
        self._shape = _turned_shape(container)
        try:
            # Any repeated neighbour is over this tolerance, so that decord raises instead of hiding a loss.
            self._reader = decord.VideoReader(
                file_url(path), num_threads=1, fault_tol=0.5 / len(self.times_F)
            )
            starts_F = self._reader.get_frame_timestamp(range(len(self._reader)))[:, 0]
        except DECORD_ERRORS as error:
            raise Unfit(str(error)) from error
        self._skip = len(starts_F) - len(self.times_F)  # frames before time zero
        step_s = 1 / container.info.fps
        if self._skip < 0 or not np.allclose(
            starts_F[self._skip :], self.times_F - container.origin_s, rtol=0, atol=step_s / 4
        ):
            raise Unfit("decord's index differs from the packets")

    def read(self, indices_N: np.ndarray) -> np.ndarray:
        """Upright stored frames (N, H, W, C) at the given positions."""
        try:
            frames_NHWC = self._reader.get_batch(indices_N + self._skip).asnumpy()
        except DECORD_ERRORS as error:
            raise Unfit(str(error)) from error
        if frames_NHWC.shape[1:3] != self._shape:
            raise Unfit("decord turns the picture another way")
        return frames_NHWC

    def close(self) -> None:
        """Frees the decoder."""
        del self._reader


class FfmpegFrames:
    """Frames in order from an ffmpeg process; going back starts it again from the beginning.

    One pass lists the frames that decode and their times, later ones deliver them; both decode with one thread, which
    makes what is concealed in damaged frames the same every time.

    Args:
        path: the file.
        container: what `probe.inspect` found in it.
        binary: another ffmpeg than the bundled one.

    Raises:
        Refusal: `damaged` where nothing can be decoded.
    """

    def __init__(self, path: str | os.PathLike[str], container: Container, binary: str | None = None) -> None:
        self._path, self._container, self._binary = path, container, binary
        self._process: subprocess.Popen[bytes] | None = None
        self._running = ExitStack()
        self._next = 0
        self._positions_F, self.times_F = self._list()

    def read(self, indices_N: np.ndarray) -> np.ndarray:
        """Upright stored frames (N, H, W, C) at the given positions."""
        width, height = self._container.stored_size
        frames_NHWC = np.empty((len(indices_N), height, width, 3), np.uint8)
        wanted, where_N = np.unique(self._positions_F[indices_N], return_inverse=True)
        for rank, position in enumerate(wanted):
            frames_NHWC[where_N == rank] = self._frame(int(position))
        return np.ascontiguousarray(np.rot90(frames_NHWC, self._container.info.rotation // 90, axes=(1, 2)))

    def close(self) -> None:
        """Ends the process."""
        self._running.close()
        self._process = None

    def _frame(self, position: int) -> np.ndarray:
        if self._process is None or position < self._next:
            self.close()
            command = self._command(format="rawvideo", pix_fmt="rgb24")
            self._process, _ = self._running.enter_context(running(command, stdout=subprocess.PIPE))
            self._next = 0
        assert self._process.stdout is not None
        width, height = self._container.stored_size
        while True:
            data = self._process.stdout.read(width * height * 3)
            if len(data) < width * height * 3:
                self.close()
                raise Refusal("damaged", f"the stream cannot be decoded past frame {self._next}")
            self._next += 1
            if self._next > position:
                return np.frombuffer(data, np.uint8).reshape(height, width, 3)

    def _list(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions in ffmpeg's output of the frames to show, and their times in seconds."""
        positions: list[int] = []
        times: list[float] = []
        base = Fraction(1)
        count = 0
        # framecrc prints "#tb 0: 1/12800" once, then "stream, dts, pts, duration, size, checksum" for every frame.
        with running(self._command(format="framecrc"), stdout=subprocess.PIPE) as (process, _):
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(b"#tb 0:"):
                    base = Fraction(line.split(b":")[1].decode().strip())
                elif not line.startswith(b"#"):
                    time_s = float(int(line.split(b",")[2]) * base)
                    if time_s >= 0 and (not times or time_s > times[-1]):
                        positions.append(count)
                        times.append(time_s)
                    count += 1
        if not positions:
            raise Refusal("damaged", f"no frame of the {self._container.info.codec} stream can be decoded")
        return np.array(positions), np.array(times)

    def _command(self, **output: str) -> list[str]:
        width, height = self._container.stored_size
        source = ffmpeg.input(
            file_url(self._path),
            protocol_whitelist=PROTOCOLS,
            format_whitelist=CONTAINERS,
            threads=1,
            fflags="+discardcorrupt",
            noautorotate=None,
        )
        # Streams may change size on the way; the scaler holds the first one and uses the filter decord uses.
        picture = source[str(self._container.stream)].filter("scale", width, height, flags="bilinear")
        options = {"c:v": "rawvideo", "fps_mode": "passthrough", "enc_time_base": "demux", **output}
        return argv(
            ffmpeg.output(picture, "pipe:1", copyts=None, max_error_rate="1", **options), self._binary
        )


def _turned_shape(container: Container) -> tuple[int, int]:
    """Height and width of an upright frame as stored, before pixels are made square."""
    width, height = container.stored_size
    return (width, height) if container.info.rotation % 180 else (height, width)
