"""A killed ffmpeg is an error, not the end of a stream; a program that is not ffmpeg is an error."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from datagen.common.errors import KilledError, Refusal, UserError
from datagen.media import VideoReader, again_if_killed, encode, ffmpeg_version
from tests.media.conftest import FRAMES, HEIGHT, WIDTH, number_of, numbered

Video = Callable[[str], Path]
Dying = Callable[..., str]

PARTS = {  # output before the end: some lines of the list of frames and half a line; some frames; nothing
    "listing": "FFMPEG | head -n 5; printf '12 1/'",
    "frames": f"FFMPEG | head -c {5 * WIDTH * HEIGHT * 3 + 99}",
    "nothing": "",
}
ENDS = {
    "kill -9 $$": "out_of_memory",
    "exit 244": "out_of_memory",  # how ffmpeg ends without memory
    "kill -11 $$": "crashed",
    "exit 255": "crashed",  # how ffmpeg ends after SIGTERM
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("part", "name"), [("listing", "edit_list.mp4"), ("nothing", "edit_list.mp4")])
def test_killed_while_it_lists_the_frames(
    video: Video, dying_ffmpeg: Dying, part: str, name: str, end: str
) -> None:
    with pytest.raises(KilledError) as caught:
        VideoReader(video(name), ffmpeg=dying_ffmpeg(f"{PARTS[part]}; {end}".strip("; ")))
    assert caught.value.reason == ENDS[end]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("part", ["frames", "nothing"])
def test_killed_while_it_decodes(video: Video, dying_ffmpeg: Dying, part: str, end: str) -> None:
    dying = dying_ffmpeg(f"{PARTS[part]}; {end}".strip("; "))
    with VideoReader(video("plain.mp4"), backend="ffmpeg", ffmpeg=dying) as reader:
        if part == "frames":
            assert [number_of(frame) for frame in reader.read([0, 1, 2, 3])] == [0, 1, 2, 3]
        with pytest.raises(KilledError):
            reader.read(range(FRAMES))


def test_a_decoder_that_stops_early_is_not_the_end_of_the_stream(video: Video, dying_ffmpeg: Dying) -> None:
    with pytest.raises(Refusal, match="gave up after") as caught:
        VideoReader(video("edit_list.mp4"), ffmpeg=dying_ffmpeg(f"{PARTS['listing']}; exit 251"))
    assert caught.value.reason == "damaged"


def test_killed_once_gives_what_an_undisturbed_one_gives(video: Video, dying_ffmpeg: Dying) -> None:
    dying = dying_ffmpeg(f"{PARTS['listing']}; kill -9 $$", times=1)

    def read(binary: str | None) -> bytes:
        with VideoReader(video("edit_list.mp4"), ffmpeg=binary) as reader:
            return bytes(reader.read(range(len(reader))))

    assert again_if_killed(lambda: read(dying)) == read(None)


def test_killed_every_time_is_a_refusal(tmp_path: Path, dying_ffmpeg: Dying) -> None:
    dying = dying_ffmpeg("kill -9 $$")
    with pytest.raises(Refusal, match="in each of 3 tries") as caught:
        again_if_killed(lambda: encode([numbered(0)], 25, tmp_path / "x.mp4", ffmpeg_binary=dying))
    assert caught.value.reason == "out_of_memory"


def test_a_killed_error_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(KilledError("was killed", "crashed")))
    assert (str(error), error.reason) == ("ffmpeg was killed", "crashed")


@pytest.mark.parametrize("kind", ["shell", "text", "folder", "missing", "silent"])
def test_a_file_that_is_not_ffmpeg_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = {"shell": Path("/bin/sh"), "folder": tmp_path}.get(kind, tmp_path / "ffmpeg")
    if kind in ("text", "silent"):
        path.write_text("#!/bin/true\n" if kind == "silent" else "not a program\n")
        path.chmod(0o755)
    with pytest.raises(UserError, match=r"encode\.ffmpeg = ") as caught:
        ffmpeg_version(str(path))
    assert os.fspath(path) in str(caught.value) and caught.value.code == 2


def test_a_missing_ffmpeg_ends_the_run(video: Video, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be started"):
        VideoReader(video("edit_list.mp4"), ffmpeg=str(tmp_path / "ffmpeg"))
