"""Talking heads: the measured motion is the motion that was asked for, and every run makes the same frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.bundled.demo_set import Take, portraits, take, talking_head
from datagen.bundled.talking_head import TalkingHead, motion, rotation
from datagen.faces import FaceAnalyser, Faces, geometry


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
    assert np.abs(corners - corners[0]).max() == 0  # the background does not move
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
def test_made_motion_stays_in_bounds_and_is_repeatable(seed: int, frames: int, fps: float) -> None:
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


def test_talking_head_takes_any_portrait() -> None:
    hopper = portraits()[1]
    small = np.ascontiguousarray(hopper.image[::2, ::2])
    frames, truth = talking_head(small, hopper.landmarks / 2, 3, 25, 9)
    assert [frame.shape for frame in frames] == [(256, 256, 3)] * len(truth)
