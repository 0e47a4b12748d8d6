"""`encode`: exact frame rates, faithful colours, lossless masks, the same bytes every time."""

from __future__ import annotations

import errno
import signal
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.common.errors import KilledError
from datagen.media import FfmpegError, VideoReader, decode_bytes, encode, frame_rate, probe
from tests.media.conftest import number_of, numbered


def stored(frames: list[np.ndarray], path: Path, fps: float = 25, **options: object) -> bytes:
    encode(iter(frames), fps, path, **options)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("fps", "exact"),
    [
        (8, Fraction(8)), (12.5, Fraction(25, 2)), (23.976, Fraction(24000, 1001)), (24, Fraction(24)),
        (24000 / 1001, Fraction(24000, 1001)), (29.97, Fraction(30000, 1001)), (30, Fraction(30)),
        (59.94, Fraction(60000, 1001)), (12.3, Fraction(123, 10)),
    ],
)  # fmt: skip
def test_rates_and_times_are_exact(tmp_path: Path, fps: float, exact: Fraction) -> None:
    assert frame_rate(fps) == exact
    encode((numbered(number) for number in range(30)), fps, tmp_path / "x.mp4")
    with VideoReader(tmp_path / "x.mp4") as reader:
        assert reader.info.fps == float(exact) and reader.info.constant_rate and reader.backend == "decord"
        np.testing.assert_allclose(reader.times_F, np.arange(30) / float(exact), rtol=0, atol=1e-9)


@given(fps=st.floats(1, 240))
def test_frame_rate_is_close_to_what_was_asked_for(fps: float) -> None:
    assert abs(float(frame_rate(fps)) - fps) <= 0.005


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_impossible_rates(fps: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frame rate"):
        encode([numbered(0)], fps, tmp_path / "x.mp4")


def test_colours_round_trip(tmp_path: Path) -> None:
    photo = skimage.data.astronaut()
    decoded = decode_bytes(stored([photo] * 3, tmp_path / "x.mp4")).astype(int)
    difference = decoded - photo
    assert np.abs(difference).mean() < 3  # measured 2.5, of which 1.6 is 4:2:0 chroma and decord's rounding
    assert np.abs(difference.mean((0, 1, 2))).max() < 1.5
    with av.open(str(tmp_path / "x.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range) == (1, 1, 1, 1)


def test_grey_streams_have_equal_channels(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8), (64, 256))
    decoded = decode_bytes(stored([ramp] * 4, tmp_path / "x.mp4", kind="grey"))
    assert (decoded == decoded[..., :1]).all()
    assert np.abs(decoded[..., 0].astype(int) - ramp).mean() < 0.5
    from_colour = decode_bytes(stored([np.dstack([ramp] * 3)] * 4, tmp_path / "y.mp4", kind="grey"))
    np.testing.assert_array_equal(from_colour, decoded)


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_masks_are_lossless(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    binary = data.draw(st.booleans())
    values = np.random.default_rng(seed).integers(0, 256, (5, 32, 64), np.uint8)
    masks = [(255 * (mask > 127)).astype(np.uint8) if binary else mask for mask in values]
    decoded = decode_bytes(stored(masks, tmp_path_factory.mktemp("m") / "x.mp4", kind="mask"))
    np.testing.assert_array_equal(decoded, np.stack(masks)[..., None].repeat(3, axis=-1))


def test_groups_of_pictures_are_fixed_and_the_index_is_first(tmp_path: Path) -> None:
    data = stored([numbered(number * 7 % 256) for number in range(50)], tmp_path / "x.mp4", gop=12)
    assert data.find(b"moov") < data.find(b"mdat")
    with av.open(str(tmp_path / "x.mp4")) as container:
        keys = [
            round(float(p.pts * p.time_base) * 25)
            for p in container.demux(video=0)
            if p.size and p.is_keyframe
        ]
    assert keys == [0, 12, 24, 36, 48]


def test_a_video_has_the_comment_and_no_other_metadata(tmp_path: Path) -> None:
    comment = 'synthetic: donor="A=B"; style\nünïcode'
    stored([numbered(0)], tmp_path / "x.mp4", comment=comment)
    with av.open(str(tmp_path / "x.mp4")) as container:
        metadata = dict(container.metadata)
    assert metadata.pop("comment") == comment
    assert set(metadata) <= {"major_brand", "minor_version", "compatible_brands"}


def test_the_same_bytes_are_encoded_again_and_on_an_older_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = skimage.data.astronaut()[::2, ::2]
    frames = [np.roll(photo, 3 * number, axis=1) for number in range(14)]
    first = stored(frames, tmp_path / "a.mp4")
    assert stored(frames, tmp_path / "b.mp4") == first
    start = subprocess.Popen

    def start_on_a_lesser_processor(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        command[1:1] = ["-cpuflags", "0"]
        command[command.index("-x264-params") + 1] += ":asm=0"
        return start(command, **options)

    monkeypatch.setattr(subprocess, "Popen", start_on_a_lesser_processor)
    assert stored(frames, tmp_path / "c.mp4") == first


@pytest.mark.parametrize("kind", ["colour", "grey", "mask"])
def test_odd_sizes_grow_by_their_edge(tmp_path: Path, kind: str) -> None:
    photo = skimage.data.astronaut()[:95, :127]
    decoded = decode_bytes(stored([photo] * 2, tmp_path / "x.mp4", kind=kind))
    assert decoded.shape == (2, 96, 128, 3)
    assert np.abs(decoded[0, 95].astype(int) - decoded[0, 94]).mean() < 6


def test_nothing_to_encode_and_mixed_shapes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without frames"):
        encode([], 25, tmp_path / "x.mp4")
    with pytest.raises(ValueError, match="frame 1 is"):
        encode([numbered(0), numbered(1)[:32]], 25, tmp_path / "x.mp4")
    with pytest.raises(ValueError, match="uint8"):
        encode([numbered(0) / 255], 25, tmp_path / "x.mp4")


def test_ffmpeg_failing_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(FfmpegError, match="No such file") as caught:
        encode([numbered(0)], 25, tmp_path / "missing" / "x.mp4")
    assert "\n" not in str(caught.value) and "0x" not in str(caught.value)


def remember_processes(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def remember(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        started.append(start(command, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", remember)
    return started


def test_ffmpeg_killed_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = remember_processes(monkeypatch)

    def frames() -> Iterator[np.ndarray]:
        for number in range(200):
            if number == 20:
                started[0].send_signal(signal.SIGKILL)
            yield numbered(number)

    with pytest.raises(KilledError, match="SIGKILL") as caught:
        encode(frames(), 25, tmp_path / "x.mp4")
    assert caught.value.reason == "out_of_memory"
    assert started[0].returncode == -signal.SIGKILL


def test_a_full_disk_is_not_reported_as_a_failing_ffmpeg() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        encode([numbered(0)] * 5, 25, "/dev/full")
    assert caught.value.errno == errno.ENOSPC


def test_a_failing_source_of_frames_ends_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = remember_processes(monkeypatch)

    def frames() -> Iterator[np.ndarray]:
        yield numbered(0)
        raise KeyError("the stage before failed")

    with pytest.raises(KeyError):
        encode(frames(), 25, tmp_path / "x.mp4")
    assert started[0].returncode is not None


def test_encoding_streams_an_iterator(tmp_path: Path) -> None:
    alive: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for number in range(60):
            alive.append(number)
            yield numbered(number)

    encode(frames(), 25, tmp_path / "x.mp4")
    assert len(alive) == probe(tmp_path / "x.mp4").frames == 60
    with VideoReader(tmp_path / "x.mp4") as reader:
        assert number_of(reader.read([59])[0]) == 59
