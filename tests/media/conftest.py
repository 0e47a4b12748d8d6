"""Unusual videos, made once with the bundled ffmpeg; frame k shows its number in eight black or white tiles."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datagen.media import bundled_ffmpeg

HEIGHT, WIDTH, FPS, FRAMES = 96, 128, 25, 40


def numbered(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Smooth colours that differ in every corner, with `number` written in binary along the middle."""
    y, x = np.mgrid[0:height, 0:width]
    frame = np.stack([255 * x / width, 255 * y / height, np.full_like(x, 90 + number)], axis=-1).astype(
        np.uint8
    )
    tile = width // 8
    for bit in range(8):
        frame[height // 3 : 2 * height // 3, bit * tile : (bit + 1) * tile] = 255 * (number >> bit & 1)
    return frame


def number_of(frame: np.ndarray) -> int:
    """The number `numbered` wrote into an upright frame."""
    height, width = frame.shape[:2]
    tile = width / 8
    tiles = [frame[height // 2, int((bit + 0.5) * tile)].mean() > 127 for bit in range(8)]
    return sum(1 << bit for bit, white in enumerate(tiles) if white)


def ffmpeg(*arguments: str) -> None:
    subprocess.run(
        [bundled_ffmpeg(), "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *arguments],
        check=True,
        timeout=60,
    )


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """ffmpeg input arguments for the numbered frames."""
    path = tmp_path_factory.mktemp("raw") / "frames.rgb"
    path.write_bytes(b"".join(numbered(number).tobytes() for number in range(FRAMES)))
    return ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS), "-i", str(path)]


H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "10", "-g", "15", "-pix_fmt", "yuv420p"]
ALPHA = "format=rgba,colorchannelmixer=aa=0.5"


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory, raw: list[str]) -> Callable[[str], Path]:
    """Makes an unusual video by name, once."""
    folder = tmp_path_factory.mktemp("videos")
    plain = folder / "plain.mp4"
    ffmpeg(*raw, *H264, "-bf", "2", str(plain))
    source = ["-i", str(plain)]
    recipes: dict[str, list[str]] = {
        "rot90.mp4": ["-display_rotation", "90", *source, "-c", "copy"],
        "rot180.mp4": ["-display_rotation", "180", *source, "-c", "copy"],
        "rot270.mp4": ["-display_rotation", "270", *source, "-c", "copy"],
        "edit_list.mp4": ["-ss", "0.4", *source, "-c", "copy"],
        "odd.mp4": [*raw, "-vf", "scale=127:95", *H264[:-1], "yuv444p"],
        "odd.mkv": [*raw, "-vf", "scale=127:95", "-c:v", "ffv1"],
        "ten_bit.mp4": [*raw, *H264[:-1], "yuv420p10le"],
        "hevc.mp4": [*raw, "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"],
        "alpha.mov": [*raw, "-vf", ALPHA, "-c:v", "qtrle"],
        "alpha.webm": [*raw, "-vf", f"{ALPHA},format=yuva420p", "-c:v", "libvpx-vp9", "-cpu-used", "8"],
        "variable.mp4": [*raw, "-vf", "select=not(eq(mod(n\\,5)\\,2))", "-fps_mode", "vfr", *H264],
        "one.mp4": [*raw, "-frames:v", "1", *H264],
        "mpeg4.avi": [*raw, "-c:v", "mpeg4", "-q:v", "2"],
        "mpeg4_b.avi": [*raw, "-c:v", "mpeg4", "-q:v", "2", "-bf", "2"],
        "av1.mp4": [*raw, "-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime"],
        "offset.mkv": [*raw, "-vf", "setpts=PTS+5/TB", *H264, "-copyts"],
        "stream.ts": [*raw, *H264, "-bf", "2"],
        "fragments.mp4": [*raw, *H264, "-movflags", "frag_keyframe+empty_moov"],
        "full_range.mp4": [*raw, "-vf", "scale=out_range=pc", *H264[:-1], "yuvj420p"],
        "wide_pixels.mp4": [*raw, "-vf", "setsar=4/3", *H264],
        "eight_fps.mp4": [*raw[:-4], "-r", "8", *raw[-2:], *H264],
        "sound.mp4": [*raw, "-f", "lavfi", "-i", "sine=duration=1.6", *H264, "-c:a", "aac"],
        "only_sound.mp4": ["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac"],
    }

    def make(name: str) -> Path:
        path = folder / name
        if not path.exists():
            ffmpeg(*recipes[name], str(path))
        return path

    return make
