"""`probe` on normal, unusual and unreadable files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import ffmpeg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.common.errors import Refusal
from datagen.media import VideoReader, probe
from datagen.media.ffmpeg import argv
from datagen.media.probe import describe
from datagen.sources.manifest import VIDEO_SUFFIXES
from tests.media.conftest import FPS, FRAMES, HEIGHT, WIDTH

Video = Callable[[str], Path]


def test_plain(video: Video) -> None:
    info = probe(video("plain.mp4"))
    assert (info.width, info.height, info.frames, info.codec) == (WIDTH, HEIGHT, FRAMES, "h264")
    assert info.fps == FPS
    assert info.duration_s == pytest.approx(FRAMES / FPS)
    assert info.constant_rate and not info.has_audio and info.rotation == 0


@pytest.mark.parametrize(
    ("name", "size", "rotation"),
    [
        ("rot90.mp4", (HEIGHT, WIDTH), 90),
        ("rot180.mp4", (WIDTH, HEIGHT), 180),
        ("rot270.mp4", (HEIGHT, WIDTH), 270),
        ("odd.mp4", (127, 95), 0),
        ("wide_pixels.mp4", (171, HEIGHT), 0),
    ],
)
def test_size_is_the_displayed_one(video: Video, name: str, size: tuple[int, int], rotation: int) -> None:
    info = probe(video(name))
    assert ((info.width, info.height), info.rotation) == (size, rotation)


def test_frame_rates_and_sound_are_reported(video: Video) -> None:
    assert not probe(video("variable.mp4")).constant_rate
    assert probe(video("eight_fps.mp4")).fps == 8
    assert probe(video("sound.mp4")).has_audio
    assert probe(video("one.mp4")).frames == 1


def test_edit_list_hides_frames(video: Video) -> None:
    assert probe(video("edit_list.mp4")).frames == FRAMES - round(0.4 * FPS)


def hopeless(folder: Path, video: Video) -> dict[str, tuple[Path, str]]:
    files = {
        name: folder / name for name in ("empty.mp4", "text.mp4", "list.mp4", "cut_short.mp4", "folder.mp4")
    }
    files["empty.mp4"].touch()
    files["text.mp4"].write_text("this is no video\n" * 100)
    files["list.mp4"].write_text(f"ffconcat version 1.0\nfile '{video('plain.mp4')}'\n")
    files["cut_short.mp4"].write_bytes(video("plain.mp4").read_bytes()[:500])
    files["folder.mp4"].mkdir()
    found = {name: (path, "unreadable") for name, path in files.items()}
    found["empty.mp4"] = (files["empty.mp4"], "empty_file")
    found["missing.mp4"] = (folder / "missing.mp4", "unreadable")
    found["only_sound.mp4"] = (video("only_sound.mp4"), "no_video")
    return found


def test_unreadable_files_are_refused_with_the_same_message_in_any_folder(
    tmp_path_factory: pytest.TempPathFactory, video: Video
) -> None:
    def refusals(folder: Path) -> dict[str, tuple[str, str, str]]:
        said = {}
        for name, (path, reason) in hopeless(folder, video).items():
            for read in (probe, VideoReader):
                with pytest.raises(Refusal) as caught:
                    read(path)
                assert caught.value.reason == reason, name
            said[name] = (caught.value.reason, caught.value.message, caught.value.hint)
        return said

    assert refusals(tmp_path_factory.mktemp("one")) == refusals(tmp_path_factory.mktemp("two"))


@given(
    fps=st.sampled_from([8.0, 12.5, 24000 / 1001, 25.0, 30000 / 1001, 60.0]),
    frames=st.integers(2, 400),
    origin=st.floats(0, 1e5),
)
def test_timestamps_in_milliseconds_keep_the_frame_rate(fps: float, frames: int, origin: float) -> None:
    times_F = origin + np.round(np.arange(frames) / fps, 3)
    average, duration_s, constant = describe(times_F, fps)
    assert constant
    assert average == pytest.approx(fps, rel=2e-3 if frames > 30 else 0.05)
    assert duration_s == pytest.approx(frames / fps, abs=0.01)


@pytest.mark.parametrize(
    ("ending", "codec"),
    [("mxf", "mpeg2video"), ("vob", "mpeg2video"), ("m2v", "mpeg2video"), ("rm", "rv10"), ("dv", "dvvideo")],
)
def test_rare_video_formats_are_listed_and_read(tmp_path: Path, ending: str, codec: str) -> None:
    made = tmp_path / f"a.{ending}"
    source = ffmpeg.input("testsrc=s=720x576:r=25:d=0.4", f="lavfi")
    run = argv(source.output(str(made), vcodec=codec, pix_fmt="yuv420p"))
    subprocess.run(run, check=True)
    assert made.suffix in VIDEO_SUFFIXES
    with VideoReader(made) as reader:
        assert len(reader.times_F) == 10
        assert reader.read([0, 9]).shape[0] == 2
