"""Unusual footage: rotated, cut, odd sizes, damaged, hostile names. No file affects another one."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from datagen.curate.source import CARRIED, curate_source
from datagen.inspect.verify import verify
from datagen.media import encode, probe
from datagen.output.failures import read_failures
from datagen.output.paths import Output
from datagen.plan.parts import read_plan
from datagen.recipe import load_recipe
from datagen.shards import Dataset
from datagen.sources.files import SourceFiles
from tests.damage import KINDS, Curator, containers, damaged_files
from tests.support import SHARED, command, convert, head

VIDEOS = SHARED / "media" / "videos"
SIDE, FRAMES = 192, 36
SMALL = [
    "curate.size=128", "curate.min_frames=12", "curate.max_frames=40", "curate.max_upscale=3",
    "curate.detect_every_s=0.2", "curate.max_gap_s=0.1",
]  # fmt: skip


@pytest.fixture(scope="module")
def people():
    """Two people talking, (2, F, H, W, 3)."""
    made = [
        [cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in head(n, FRAMES, n)]
        for n in (0, 1)
    ]
    return np.array(made)


@pytest.fixture(scope="module")
def plain(people, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "plain.mp4"
    encode(people[0], 25.0, path, crf=12)
    return path


@pytest.fixture
def curate(analyser, tmp_path):
    """Clip rows and failure rows of one file."""

    def run(path, *settings):
        row = dict.fromkeys((*CARRIED, "part"), "x")
        row |= {"source": "x", "source_key": "x", "member": "", "name": "x"}
        row |= {"root": "x", "path": os.fsencode(Path(path).name)}
        files = SourceFiles({"x": Path(path).parent})
        return curate_source(row, load_recipe(None, [*SMALL, *settings]), analyser, tmp_path, {}, files)

    return run


@pytest.fixture
def written(tmp_path):
    """Frames as a file."""

    def write(frames, fps=25.0):
        path = tmp_path / "made.mp4"
        encode(list(frames), fps, path, crf=12)
        return path

    return write


def only(result):
    clips, failures = result
    assert not failures
    assert len(clips) == 1
    return clips[0]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ten bits.mp4", ["-c:v", "libx264", "-pix_fmt", "yuv420p10le"]),
        (
            "hevc ten bits.mp4",
            ["-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=none"],
        ),
        ("prores.mov", ["-c:v", "prores_ks"]),
        ("alpha.mov", ["-c:v", "png", "-pix_fmt", "rgba"]),
        (
            "alpha.webm",
            ["-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-cpu-used", "8", "-deadline", "realtime"],
        ),
        ("odd.mkv", ["-vf", "scale=191:189", "-c:v", "libx264", "-pix_fmt", "yuv444p"]),
        ("full range.avi", ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "2"]),
        ("boxed.mp4", ["-vf", "pad=400:300:(ow-iw)/2:(oh-ih)/2", "-c:v", "libx264"]),
        ("interlaced.ts", ["-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-q:v", "2"]),
    ],
)
def test_every_kind_of_picture_gives_the_same_person(curate, plain, tmp_path, name, options):
    clip = only(curate(convert(plain, tmp_path / name, *options)))
    expected = only(curate(plain))
    assert clip["frames"] == expected["frames"] == FRAMES
    assert np.linalg.norm(np.subtract(clip["embedding"], expected["embedding"])) < 0.35
    assert clip["face_area"] == pytest.approx(expected["face_area"], abs=0.03)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_only_metadata(curate, plain, tmp_path, degrees):
    lying = tmp_path / "lying.mp4"
    turns = {90: "transpose=clock", 180: "hflip,vflip", 270: "transpose=cclock"}[degrees]
    convert(plain, lying, "-vf", turns, "-c:v", "libx264", "-crf", "12")
    upright = tmp_path / "upright.mp4"
    convert(lying, upright, "-c", "copy", before=["-display_rotation", str(degrees)])
    assert probe(upright).rotation == degrees
    clip, expected = only(curate(upright)), only(curate(plain))
    for name in ("x", "y", "size"):
        assert clip["crop"][name] == pytest.approx(expected["crop"][name], abs=4)


def test_frames_hidden_by_an_edit_list_are_not_in_the_clip(curate, plain, tmp_path):
    trimmed = convert(plain, tmp_path / "trimmed.mp4", "-c", "copy", before=["-ss", "0.6"])
    shown = probe(trimmed).frames
    assert shown < FRAMES
    assert only(curate(trimmed))["frames"] == shown


@pytest.mark.parametrize("fps", [8.0, 12.0, 50.0])
def test_slow_and_fast_frame_rates_are_kept_or_halved(curate, written, people, fps):
    clip = only(curate(written(people[0], fps), "curate.max_fps=30"))
    assert clip["fps"] == (25.0 if fps == 50 else fps)
    assert clip["frames"] == (FRAMES // 2 if fps == 50 else FRAMES)
    assert clip["end_s"] - clip["start_s"] == pytest.approx(FRAMES / fps)


def test_a_long_shot_becomes_windows_of_bounded_length(curate, written, people):
    there_and_back = [*people[0], *people[0][::-1]]
    clips, failures = curate(written(there_and_back * 2))
    assert not failures
    assert [clip["frames"] for clip in clips] == [36] * 4
    ends = [
        0,
        *(frame for clip in clips for frame in (clip["source_frames"][0], clip["source_frames"][-1] + 1)),
        144,
    ]
    assert ends == sorted(ends)


@pytest.mark.parametrize("frames", [1, 5])
def test_a_video_of_a_few_frames_is_too_short(curate, written, people, frames):
    clips, failures = curate(written(people[0][:frames]))
    assert not clips
    assert [row["reason"] for row in failures] == ["too_short"]


def test_a_cut_between_people_is_a_cut_between_clips(curate, written, people):
    clips, failures = curate(written([*people[0][:20], *people[1][:25]]))
    assert not failures
    assert [(clip["source_frames"][0], clip["source_frames"][-1]) for clip in clips] == [(0, 19), (20, 44)]
    assert np.linalg.norm(np.subtract(clips[0]["embedding"], clips[1]["embedding"])) > 0.6


def test_a_faceless_end_card_is_cut_off(curate, written, people):
    card = np.full((SIDE, SIDE, 3), (30, 20, 60), np.uint8)
    cv2.putText(card, "THE END", (20, 100), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 255, 255), 2)
    clip = only(curate(written([*people[0][:30], *[card] * 30])))
    assert (clip["source_frames"][0], clip["source_frames"][-1]) == (0, 29)


def test_two_people_side_by_side_are_never_mixed(curate, written, people):
    path = written(np.concatenate(people, axis=2))
    clips, failures = curate(path, "curate.faces=all")
    assert not failures
    assert len(clips) == 2
    left, right = sorted(clips, key=lambda clip: clip["crop"]["x"])
    assert (
        left["crop"]["x"] + left["crop"]["size"] / 2 < SIDE < right["crop"]["x"] + right["crop"]["size"] / 2
    )
    assert np.linalg.norm(np.subtract(left["embedding"], right["embedding"])) > 0.6
    for clip in clips:
        boxes = np.array(clip["face_boxes"], float)
        assert np.abs(np.diff(boxes, axis=0)).max() < 0.2 * (boxes[:, 2] - boxes[:, 0]).min()
    assert only(curate(path))["face_count"] == 2


def test_a_photograph_beside_the_speaker_is_left_out(curate, written, people):
    photograph = np.repeat(people[1][:1], FRAMES, axis=0)
    clip = only(curate(written(np.concatenate([photograph, people[0]], axis=2))))
    assert clip["crop"]["x"] + clip["crop"]["size"] / 2 > SIDE
    clips, failures = curate(written(photograph))
    assert not clips
    assert [row["reason"] for row in failures] == ["still"]


def test_a_face_far_away_is_too_small(curate, written, people):
    far = [
        cv2.copyMakeBorder(cv2.resize(frame, (96, 96)), 60, 60, 60, 60, cv2.BORDER_REPLICATE)
        for frame in people[0]
    ]
    clips, failures = curate(written(far), "curate.size=512", "curate.max_upscale=2")
    assert not clips
    assert [row["reason"] for row in failures] == ["too_small"]


def test_damaged_media_give_clips_or_failure_rows(tmp_path):
    sources = containers(tmp_path / "sound", 24)
    seen = set()
    with Curator(limit_s=60) as curate:
        for path, kind in damaged_files(sources, tmp_path / "damaged", len(sources) * len(KINDS), seed=0):
            outcome = curate(path)
            assert outcome.clips or outcome.reasons, f"{path.name}: {outcome}"
            assert "internal" not in outcome.reasons, path.name
            seen.add(kind)
    assert seen == set(KINDS)


HOSTILE = (
    "-y.mp4", "--help.mp4", "concat:a.mp4|b.mp4", "http:example.mp4", "file:..mp4", "pipe:0.mp4", "a b's \"c\".mp4",
    "$(touch owned).mp4", "`touch owned`;touch owned.mp4", "two\nlines\t.mp4", "größe 動画 🎬.mp4", "%d.mp4", "*.mp4",
    "a::b.mp4", "' or 1=1 --.mp4",
)  # fmt: skip


def test_hostile_names_reach_the_index_and_run_nothing(people, tmp_path):
    footage, out, plain = tmp_path / "in", tmp_path / "out", tmp_path / "plain.mp4"
    footage.mkdir()
    encode(people[0][:12], 25.0, plain)
    for number, name in enumerate(HOSTILE):
        (footage / name).symlink_to(plain) if number % 2 else shutil.copy(plain, footage / name)
    bad = os.fsencode(footage) + b"/\xff\xfe.mp4"
    with open(bad, "wb") as file:
        file.write(plain.read_bytes())
    with tarfile.open(footage / "set.tar", "w") as tar:
        for name in ("good 1.mp4", "../evil.mp4", "/etc/evil.mp4"):
            info = tarfile.TarInfo(name)
            info.size = plain.stat().st_size
            tar.addfile(info, io.BytesIO(plain.read_bytes()))
        link = tarfile.TarInfo("link.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, str(plain)
        tar.addfile(link)
    before = set(tmp_path.rglob("*"))
    settings = [word for setting in SMALL for word in ("--set", setting)]
    settings += [
        "--set",
        "swap.backend=off",
        "--set",
        "stylise.backends=[]",
        "--set",
        "mask.foreground=false",
    ]
    settings += ["--set", "plan.sources_per_part=40", "--set", "plan.clips_per_unit=40"]
    command("run", "--input", footage, "--output", out, "--runner", "local", *settings, cwd=tmp_path)
    data = Dataset(out)
    reasons = {row["source"]: row["reason"] for row in read_failures(out).to_pylist()}
    assert {row["source"] for row in data.table.to_pylist()} == {*HOSTILE, "set.tar::good 1.mp4"}
    assert reasons == {
        "\\xff\\xfe.mp4": "unreadable", "set.tar::../evil.mp4": "unsafe_member",
        "set.tar::/etc/evil.mp4": "unsafe_member", "set.tar::link.mp4": "unsafe_member",
    }  # fmt: skip
    assert len(data) + len(reasons) == read_plan(Output(out)).num_rows
    assert all(
        set(clip) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
        for clip in data.table["clip_id"].to_pylist()
    )
    assert verify(out).faults == []
    made = set(tmp_path.rglob("*")) - before
    assert all(out == path or out in path.parents for path in made), (
        "something was written outside of the output"
    )


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="needs the shared real clips")
@pytest.mark.parametrize(
    ("name", "clips", "reasons"),
    [
        ("ed02_scene_cut_endcard.mp4", [(0, 84), (84, 168)], []),
        ("ed05_dance_fullbody_8fps.mp4", [], ["too_small"]),
    ],
)
def test_real_clips_are_cut_as_expected(analyser, tmp_path, name, clips, reasons):
    row = dict.fromkeys((*CARRIED, "part"), "x")
    row |= {"source": name, "source_key": name, "member": "", "name": "x"}
    row |= {"root": "x", "path": os.fsencode(name)}
    files = SourceFiles({"x": VIDEOS})
    found, failures = curate_source(row, load_recipe(None, []), analyser, tmp_path, {}, files)
    assert [(clip["source_frames"][0], clip["source_frames"][-1] + 1) for clip in found] == clips
    assert [row["reason"] for row in failures] == reasons
