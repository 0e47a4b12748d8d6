"""Both backends read the right frames, upright and with the right timestamps, from every kind of file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import datagen.media.backends as backends
from datagen.common.errors import Refusal
from datagen.media import VideoReader, bundled_ffmpeg, decode_bytes, encode
from tests.media.conftest import FPS, FRAMES, H264, ffmpeg, number_of, numbered

Video = Callable[[str], Path]

WHOLE = [
    "plain.mp4", "odd.mp4", "odd.mkv", "ten_bit.mp4", "hevc.mp4", "alpha.mov", "alpha.webm", "mpeg4.avi",
    "mpeg4_b.avi", "av1.mp4", "offset.mkv", "stream.ts", "fragments.mp4", "full_range.mp4", "wide_pixels.mp4",
    "sound.mp4", "rot180.mp4",
]  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_every_frame_is_the_right_one_in_both_backends(video: Video, name: str) -> None:
    with VideoReader(video(name)) as reader, VideoReader(video(name), backend="ffmpeg") as other:
        frames = reader.read(range(len(reader)))
        others = other.read(range(len(other)))
        assert other.backend == "ffmpeg"
        np.testing.assert_array_equal(reader.times_F, other.times_F)
    assert frames.shape == others.shape == (FRAMES, reader.info.height, reader.info.width, 3)
    assert reader.times_F == pytest.approx(np.arange(FRAMES) / FPS, abs=1e-3)
    upright = frames[:, ::-1, ::-1] if name == "rot180.mp4" else frames
    assert [number_of(frame) for frame in upright] == list(range(FRAMES))
    assert np.abs(frames.astype(int) - others).mean() < 1.0


def test_common_files_are_read_by_decord(video: Video) -> None:
    for name in ("plain.mp4", "hevc.mp4", "alpha.webm", "mpeg4.avi", "variable.mp4", "rot90.mp4"):
        with VideoReader(video(name)) as reader:
            reader.read([0, len(reader) - 1])
            assert reader.backend == "decord", name


@pytest.mark.parametrize(("name", "turns"), [("rot90.mp4", 1), ("rot180.mp4", 2), ("rot270.mp4", 3)])
@pytest.mark.parametrize("backend", ["decord", "ffmpeg"])
def test_rotation_is_applied(video: Video, name: str, turns: int, backend: str) -> None:
    with VideoReader(video(name), backend=backend) as reader:
        frame = reader.read([7])[0]
    assert np.abs(frame.astype(int) - np.rot90(numbered(7), turns)).mean() < 4


def test_frames_hidden_by_an_edit_list_do_not_exist(video: Video) -> None:
    with VideoReader(video("edit_list.mp4")) as reader:
        numbers = [number_of(frame) for frame in reader.read(range(len(reader)))]
        assert numbers == list(range(10, FRAMES))
        assert reader.times_F[0] == 0 and len(reader) == reader.info.frames == FRAMES - 10


@pytest.mark.parametrize("backend", ["decord", "ffmpeg"])
def test_frames_before_a_transport_streams_clock_wraps_are_kept(
    tmp_path: Path, raw: list[str], backend: str
) -> None:
    path, wrap_s = tmp_path / "wrap.ts", 2**33 / 90_000
    ffmpeg(*raw, *H264, "-muxdelay", "0", "-output_ts_offset", str(wrap_s - 0.7), str(path))
    with VideoReader(path, backend=backend) as reader:
        assert [number_of(frame) for frame in reader.read(range(len(reader)))] == list(range(FRAMES))
        assert reader.times_F == pytest.approx(np.arange(FRAMES) / FPS, abs=1e-3)


def test_variable_rate_keeps_each_frames_own_time(video: Video) -> None:
    kept = [number for number in range(FRAMES) if number % 5 != 2]
    with VideoReader(video("variable.mp4")) as reader:
        assert [number_of(frame) for frame in reader.read(range(len(reader)))] == kept
        assert reader.times_F == pytest.approx(np.array(kept) / FPS, abs=1e-3)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    indices=st.lists(st.integers(0, FRAMES - 1), max_size=12), backend=st.sampled_from(["decord", "ffmpeg"])
)
def test_frames_are_read_in_any_order_and_repeatedly(video: Video, indices: list[int], backend: str) -> None:
    with VideoReader(video("plain.mp4"), backend=backend) as reader:
        frames = reader.read(indices)
        assert [number_of(frame) for frame in frames] == indices
        with pytest.raises(IndexError):
            reader.read([*indices, FRAMES])
        with pytest.raises(IndexError):
            reader.read([-1])


@pytest.mark.parametrize("bound", [backends.DECODE_AHEAD_BYTES, 0])
def test_batches_have_the_asked_frames(video: Video, monkeypatch: pytest.MonkeyPatch, bound: int) -> None:
    monkeypatch.setattr(backends, "DECODE_AHEAD_BYTES", bound)
    with VideoReader(video("plain.mp4")) as reader:
        seen = [
            (list(indices), [number_of(frame) for frame in frames])
            for indices, frames in reader.batches(3, 30, 4, 3)
        ]
        assert seen == [([3, 7, 11], [3, 7, 11]), ([15, 19, 23], [15, 19, 23]), ([27], [27])]
        assert [number_of(frame) for batch in reader.stream([5, 5, 9, 30], 3) for frame in batch] == [
            5,
            5,
            9,
            30,
        ]
        assert number_of(reader.read([2])[0]) == 2


def test_ffmpeg_seeks_far_ahead_and_goes_back(video: Video, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "SEEK_S", 0.3)
    for name in ("plain.mp4", "offset.mkv", "stream.ts", "mpeg4_b.avi"):
        with VideoReader(video(name), backend="ffmpeg") as reader:
            order = [0, 35, 36, 3, 20, 39, 0]
            assert [number_of(reader.read([index])[0]) for index in order] == order, name


def test_a_truncated_file_gives_its_complete_frames(video: Video, tmp_path: Path) -> None:
    early_index = tmp_path / "index_first.mp4"
    ffmpeg("-i", str(video("plain.mp4")), "-c", "copy", "-movflags", "faststart", str(early_index))
    data = early_index.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: len(data) * 2 // 3])
    with VideoReader(path) as reader:
        numbers = [number_of(frame) for frame in reader.read(range(len(reader)))]
    assert reader.backend == "ffmpeg"
    assert 5 < len(numbers) < FRAMES
    assert numbers == [round(time * FPS) for time in reader.times_F]


def test_lost_bytes_in_the_middle_keep_the_number_of_frames(video: Video, tmp_path: Path) -> None:
    data = bytearray(video("hevc.mp4").read_bytes())
    middle = data.find(b"mdat") + 4 + (len(data) - data.find(b"mdat")) // 2
    data[middle : middle + 400] = bytes(400)
    path = tmp_path / "hole.mp4"
    path.write_bytes(data)
    with VideoReader(path) as reader:
        frames = np.concatenate([frames for _, frames in reader.batches(size=FRAMES)])
        assert len(frames) == len(reader) == FRAMES
        assert [number_of(frame) for frame in frames[:10]] == list(range(10))
        assert reader.held < FRAMES / 2


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    name=st.sampled_from(["plain.mp4", "hevc.mp4", "mpeg4.avi", "alpha.webm"]),
    flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 7)), min_size=1, max_size=30),
    keep=st.one_of(st.just(1.0), st.floats(0.01, 1)),
)
def test_damaged_files_give_frames_or_a_refusal(
    video: Video, tmp_path: Path, name: str, flips: list[tuple[float, int]], keep: float
) -> None:
    data = bytearray(video(name).read_bytes())
    for where, bit in flips:
        data[int(where * len(data))] ^= 1 << bit
    path = tmp_path / f"damaged{Path(name).suffix}"
    path.write_bytes(data[: max(1, int(keep * len(data)))])

    def outcome() -> object:
        try:
            with VideoReader(path) as reader:
                return (
                    [frames.tobytes() for _, frames in reader.batches(size=16)],
                    reader.times_F.tolist(),
                    reader.held,
                )
        except Refusal as refusal:
            assert str(tmp_path) not in str(refusal) and "0x" not in str(refusal)
            return str(refusal)

    assert outcome() == outcome()


HOSTILE = [
    "-i.mp4", "-y", "concat:a|b.mp4", "http:example.mp4", "pipe:0", "a b's \"quoted\".mp4", "line\nbreak.mp4",
    "%03d.mp4", "日本語 ünïcode.mp4", "$(touch x);`id`.mp4", "file:x.mp4", "a,b;c[0]=d\\e.mp4",
    "subfile,,start,0,end,9,,:x.mp4",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_unusual_file_names_are_not_interpreted(
    video: Video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(video("plain.mp4"), Path(name))
    for backend in ("decord", "ffmpeg"):
        with VideoReader(name, backend=backend) as reader:
            assert number_of(reader.read([9])[0]) == 9
    encode([numbered(5)], 25, name)
    assert os.listdir(tmp_path) == [name]
    assert number_of(decode_bytes(Path(name).read_bytes())[0]) == 5


def test_a_name_that_is_not_utf8(video: Video, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xfe.mp4"
    shutil.copyfile(video("plain.mp4"), name)
    with pytest.raises(Refusal, match="not UTF-8"):
        VideoReader(os.fsdecode(name))


def test_the_ffmpeg_of_the_wheel_is_used_in_any_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
    monkeypatch.setenv("PATH", "")
    bundled_ffmpeg.cache_clear()
    assert Path(bundled_ffmpeg()).parent.parent.name == "imageio_ffmpeg"


def test_no_process_and_no_pipe_is_left(video: Video) -> None:
    before = set(os.listdir("/proc/self/fd"))
    children = psutil.Process().children()
    with VideoReader(video("plain.mp4"), backend="ffmpeg") as reader:
        next(reader.batches(size=4))
    assert set(os.listdir("/proc/self/fd")) == before
    assert psutil.Process().children() == children


def test_decode_bytes_reads_chosen_frames_and_refuses_damage(tmp_path: Path) -> None:
    encode((numbered(number) for number in range(FRAMES)), FPS, tmp_path / "x.mp4")
    data = (tmp_path / "x.mp4").read_bytes()
    assert [number_of(frame) for frame in decode_bytes(data, [30, 2, 2, 17])] == [30, 2, 2, 17]
    assert len(decode_bytes(data)) == FRAMES
    assert decode_bytes(data, []).shape[0] == 0
    with pytest.raises(IndexError):
        decode_bytes(data, [FRAMES])
    for damaged, reason in ((b"", "empty_file"), (b"nothing", "damaged"), (data[:300], "damaged")):
        with pytest.raises(Refusal) as caught:
            decode_bytes(damaged)
        assert caught.value.reason == reason
