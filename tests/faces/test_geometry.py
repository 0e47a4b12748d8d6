"""Pose, openings, gaze and boxes, on exact geometry where possible."""

from __future__ import annotations

import numpy as np
import pytest

from datagen.faces import geometry, topology


def _turn(landmarks: np.ndarray, axis: int, degrees: float) -> np.ndarray:
    """Rotate about the face's middle: axis 0 nods it up, 1 turns it to the right of the picture, 2 clockwise."""
    angle = np.radians(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.array(
        [
            [[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]],
            [[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]],
            [[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]],
        ][axis]
    )
    centre = landmarks.mean(axis=0)
    return (landmarks - centre) @ matrix.T + centre


def test_pose_signs_and_sizes(astronaut_landmarks: np.ndarray):
    rest = geometry.pose(astronaut_landmarks)
    assert np.abs(rest).max() < 8
    upright = _turn(astronaut_landmarks, 2, -rest[2])
    for degrees in (-30, -10, 10, 30):
        yaw, pitch, roll = (geometry.pose(_turn(upright, axis, degrees)) for axis in (1, 0, 2))
        assert yaw[0] - rest[0] == pytest.approx(degrees, abs=1)
        assert pitch[1] - rest[1] == pytest.approx(degrees, abs=1)
        assert roll == pytest.approx([rest[0], rest[1], degrees], abs=1e-3)


def test_yaw_is_positive_when_the_nose_points_right(astronaut_landmarks: np.ndarray):
    turned = _turn(astronaut_landmarks, 1, 25)
    nose = turned[topology.NOSE_TIP, 0] - turned[topology.EYE_CORNERS, 0].mean()
    assert nose > 0 and geometry.pose(turned)[0] > 15


def test_pitch_is_positive_when_the_nose_points_up(astronaut_landmarks: np.ndarray):
    nodded = _turn(astronaut_landmarks, 0, 25)
    assert nodded[topology.NOSE_TIP, 1] < astronaut_landmarks[topology.NOSE_TIP, 1]
    assert geometry.pose(nodded)[1] > 15


def test_measures_hold_when_the_face_grows_moves_and_turns(astronaut_landmarks: np.ndarray):
    other = 2.5 * _turn(_turn(astronaut_landmarks, 1, 30), 2, 20) + (40, -7, 0)
    for measure in (geometry.mouth_opening, geometry.eye_opening):
        assert measure(other) == pytest.approx(measure(astronaut_landmarks), rel=1e-3)


def test_openings_follow_lips_and_lids(astronaut_landmarks: np.ndarray):
    shut = astronaut_landmarks.copy()
    for upper, lower in ((82, 87), (13, 14), (312, 317), (160, 144), (159, 145), (158, 153)):
        shut[lower] = shut[upper]
    assert geometry.mouth_opening(shut) == 0
    assert geometry.eye_opening(shut) == pytest.approx(geometry.eye_opening(astronaut_landmarks) / 2, rel=0.1)


def test_gaze_follows_the_irises(astronaut_landmarks: np.ndarray):
    corners = astronaut_landmarks[topology.EYE_CORNERS, :2]
    straight = np.repeat(corners.mean(axis=1)[:, None], 5, axis=1)
    assert geometry.gaze(astronaut_landmarks, straight) == pytest.approx([0, 0], abs=1e-6)
    width = np.linalg.norm(corners[:, 0] - corners[:, 1], axis=-1).mean()
    right, down = (
        geometry.gaze(astronaut_landmarks, straight + np.array(step) * width) for step in ((0.1, 0), (0, 0.1))
    )
    assert right == pytest.approx([0.1, 0], abs=0.02)
    assert down == pytest.approx([0, 0.1], abs=0.02)


def test_face_boxes_and_squares(astronaut_landmarks: np.ndarray):
    _, y0, _, y1 = geometry.face_box(astronaut_landmarks)
    flat = astronaut_landmarks[:, :2]
    assert y1 == flat[topology.CHIN, 1]
    assert flat[topology.FACE_OVAL[0], 1] < y0 < flat[topology.EYE_CORNERS, 1].min()
    squared = geometry.square(np.array([[0, 0, 10, 4], [2, 2, 4, 10]], np.float32))
    assert squared.tolist() == [[0, -3, 10, 7], [-1, 2, 7, 10]]


def test_measures_work_on_whole_clips(astronaut_landmarks: np.ndarray):
    clip = np.stack([astronaut_landmarks, astronaut_landmarks + 5, np.full_like(astronaut_landmarks, np.nan)])
    for measure in (geometry.pose, geometry.face_box, geometry.mouth_opening, geometry.eye_opening):
        values = measure(clip)
        assert len(values) == 3
        assert np.isfinite(values[:2]).all() and np.isnan(values[2]).all()
