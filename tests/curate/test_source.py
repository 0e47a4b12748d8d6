"""Curation of one source: correct measures, or a failure row with the measure that decided."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import datagen.media.ffmpeg
from datagen.faces import FaceAnalyser
from datagen.media import VideoReader, encode
from datagen.output.schema import CLIPS, FAILURES
from datagen.plan.links import same_footage
from datagen.recipe import load_recipe
from datagen.synthesise.clip import read_crop
from tests.curate.conftest import FRAMES, SIDE, Curated
from tests.support import convert

Curate = Callable[..., Curated]


def test_clip_rows_and_failure_rows_have_every_column(curate: Curate, plain: Path) -> None:
    (clip,), _ = curate(plain)
    assert set(clip) == {column.name for column in CLIPS}
    assert (clip["source_width"], clip["source_height"], clip["source_fps"]) == (SIDE, SIDE, 25)
    _, (failed,) = curate(plain, "curate.min_frames=37")
    assert set(failed) == {column.name for column in FAILURES}


def test_luma_is_that_of_the_clip_inside_the_picture(
    curate: Curate, talking: np.ndarray, tmp_path: Path
) -> None:
    """A dark panel on the left, a bright one on the right, fading light, and a crop that extends beyond the picture."""
    light = np.linspace(0.5, 1, FRAMES)[:, None, None, None]
    picture = (np.pad(talking, [(0, 0), (0, 0), (20, 40), (0, 0)]) * light).astype(np.uint8)
    picture[:, :, SIDE + 20 :] = 250
    encode(picture, 25.0, tmp_path / "panels.mp4", crf=12)
    (clip,), _ = curate(tmp_path / "panels.mp4", "curate.crop_scale=3.2", "gates.min_face_area=0")
    black = clip["padding"]
    assert max(black.values()) > 0
    frames = read_crop(clip, tmp_path / "panels.mp4", load_recipe(None, []))
    scale = clip["size"] / clip["crop"]["size"]
    x0, y0 = int(np.ceil(black["left"] * scale)) + 1, int(np.ceil(black["top"] * scale)) + 1
    x1, y1 = (int((clip["crop"]["size"] - black[side]) * scale) - 1 for side in ("right", "bottom"))
    real = np.mean([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[y0:y1, x0:x1].mean() for frame in frames])
    assert clip["luma"] == pytest.approx(real, abs=1)


def test_padding_counts_the_pixels_outside(curate: Curate, plain: Path) -> None:
    (clip,), _ = curate(plain, "curate.crop_scale=4", "gates.min_face_area=0", "curate.max_outside=0.9")
    crop, black = clip["crop"], clip["padding"]
    assert black["left"] == max(-crop["x"], 0) and black["top"] == max(-crop["y"], 0)
    assert crop["size"] - black["left"] - black["right"] == SIDE
    assert crop["size"] - black["top"] - black["bottom"] == SIDE


def test_the_best_frame_is_named_and_lies_in_the_clip(
    curate: Curate, plain: Path, analyser: FaceAnalyser
) -> None:
    (clip,), _ = curate(plain)
    assert clip["donor_frame"] in clip["source_frames"]
    with VideoReader(plain) as reader:
        assert analyser.detect(reader.read([clip["donor_frame"]])[0])


def test_two_hashes_per_second_find_a_copy(curate: Curate, plain: Path, tmp_path: Path) -> None:
    (clip,), _ = curate(plain)
    assert len(clip["frame_hashes"]) == 4  # nearest to 0, .5, 1 and 1.5 s
    copy = convert(plain, tmp_path / "copy.mp4", "-vf", "scale=160:160", "-c:v", "libx264", "-crf", "30")
    (other,), _ = curate(copy, "gates.min_face_area=0")
    assert same_footage(*(np.array(row["frame_hashes"], np.uint64) for row in (clip, other)), bits=4)


@pytest.mark.parametrize(
    ("setting", "reason", "measure"),
    [
        ("curate.min_frames=37", "too_short", "frames"),
        ("curate.max_upscale=1", "too_small", "upscale"),
        ("curate.max_outside=0", "framing", "outside"),
        ("gates.min_luma=250", "too_dark", "luma"),
        ("gates.min_face_area=0.9", "face_area", "face_area"),
        ("gates.min_sharpness=100000", "blurred", "sharpness"),
        ("gates.min_movement=9", "still", "movement"),
        ("gates.min_gaze_movement=9", "gaze", "gaze_movement"),
        ("gates.max_yaw=0", "yaw", "yaw_median"),
    ],
)
def test_a_failure_row_holds_the_measured_number_and_its_limit(
    curate: Curate, plain: Path, setting: str, reason: str, measure: str
) -> None:
    extra = {"too_small": ["curate.size=512"], "framing": ["curate.crop_scale=4"]}.get(reason, [])
    clips, (row,) = curate(plain, setting, *extra)
    assert not clips
    assert (row["reason"], row["measure"], row["limit"]) == (
        reason,
        measure,
        float(setting.partition("=")[2]),
    )
    above = measure in ("upscale", "outside", "yaw_median")
    assert row["value"] > row["limit"] if above else row["value"] < row["limit"]


def trimmed(plain: Path, folder: Path) -> Path:
    """A file whose frames only ffmpeg can list: an edit list hides some."""
    return convert(plain, folder / "trimmed.mp4", "-c", "copy", before=["-ss", "0.6"])


def test_a_decoder_killed_once_changes_nothing(
    curate: Curate,
    plain: Path,
    tmp_path: Path,
    dying_ffmpeg: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = trimmed(plain, tmp_path)
    undisturbed = curate(path)
    dying = dying_ffmpeg("FFMPEG | head -n 5; kill -9 $$", times=1)
    monkeypatch.setattr(datagen.media.ffmpeg, "bundled_ffmpeg", lambda: dying)
    assert len(undisturbed[0]) == 1
    assert curate(path) == undisturbed


def test_a_decoder_killed_every_time_gives_a_failure_row(
    curate: Curate,
    plain: Path,
    tmp_path: Path,
    dying_ffmpeg: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, dying = trimmed(plain, tmp_path), dying_ffmpeg("kill -9 $$")
    monkeypatch.setattr(datagen.media.ffmpeg, "bundled_ffmpeg", lambda: dying)
    clips, (row,) = curate(path)
    assert not clips and row["reason"] == "out_of_memory" and "SIGKILL" in row["message"]


def test_no_clip_spans_a_jump_in_the_timestamps(curate: Curate, plain: Path, tmp_path: Path) -> None:
    jump = "setpts=PTS+gte(N\\,14)*95443/TB"
    path = convert(
        plain, tmp_path / "jump.mkv", "-vf", jump, "-fps_mode", "passthrough", "-c:v", "libx264", "-crf", "12"
    )
    clips, failures = curate(path)
    assert not failures
    assert [clip["source_frames"] for clip in clips] == [[*range(14)], [*range(14, FRAMES)]]
    assert [clip["fps"] for clip in clips] == [25, 25]
