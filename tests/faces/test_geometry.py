"""Topology, measures and smoothing, on exact geometry where possible."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from datagen.faces import geometry, smooth, topology


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


def _edges(triangles: np.ndarray) -> Counter[frozenset[int]]:
    return Counter(frozenset((int(t[i]), int(t[i - 1]))) for t in triangles for i in range(3))


def test_triangles_are_a_face_with_three_openings():
    edges = _edges(topology.TRIANGLES)
    assert len(topology.TRIANGLES) == 852
    assert set(topology.TRIANGLES.ravel().tolist()) == set(range(468))
    assert max(edges.values()) == 2
    assert 468 - len(edges) + 852 == 1 - 3
    rings = [topology.FACE_OVAL, topology.RIGHT_EYE, topology.LEFT_EYE, topology.INNER_LIPS]
    border = {edge for edge, uses in edges.items() if uses == 1}
    assert border == {frozenset((int(ring[i]), int(ring[i - 1]))) for ring in rings for i in range(len(ring))}


def test_closing_triangles_leave_only_the_outline_open():
    everything = np.concatenate([topology.TRIANGLES, topology.CLOSING_TRIANGLES])
    edges = _edges(everything)
    assert len(everything) == 898
    assert 468 - len(edges) + 898 == 1
    assert sum(uses == 1 for uses in edges.values()) == len(topology.FACE_OVAL)


def test_triangles_and_rings_run_clockwise_on_the_screen(astronaut_landmarks: np.ndarray):
    flat = astronaut_landmarks[:, :2].astype(np.float64)

    def area(ring: np.ndarray) -> float:
        x, y = flat[ring].T
        return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2

    areas = np.array([area(triangle) for triangle in topology.TRIANGLES])
    assert (areas > 0).mean() > 0.95  # some at the nostrils and the outline fold over even here
    assert areas.sum() == pytest.approx(
        area(topology.FACE_OVAL)
        - sum(map(area, (topology.RIGHT_EYE, topology.LEFT_EYE, topology.INNER_LIPS))),
        rel=1e-6,
    )
    for ring in (topology.RIGHT_BROW, topology.LEFT_BROW, topology.OUTER_LIPS):
        assert area(ring) > 0


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


def test_boxes(astronaut_landmarks: np.ndarray):
    _, y0, _, y1 = geometry.face_box(astronaut_landmarks)
    flat = astronaut_landmarks[:, :2]
    assert y1 == flat[topology.CHIN, 1]
    assert flat[topology.FOREHEAD, 1] < y0 < flat[topology.EYE_CORNERS, 1].min()
    squared = geometry.square(np.array([[0, 0, 10, 4], [2, 2, 4, 10]], np.float32))
    assert squared.tolist() == [[0, -3, 10, 7], [-1, 2, 7, 10]]


def test_functions_take_whole_clips(astronaut_landmarks: np.ndarray):
    clip = np.stack([astronaut_landmarks, astronaut_landmarks + 5, np.full_like(astronaut_landmarks, np.nan)])
    for measure in (geometry.pose, geometry.face_box, geometry.mouth_opening, geometry.eye_opening):
        values = measure(clip)
        assert len(values) == 3
        assert np.isfinite(values[:2]).all() and np.isnan(values[2]).all()


def test_smoothing_does_not_delay_and_keeps_gaps():
    time = np.arange(61)
    wave = np.cos(2 * np.pi * (time - 30) / 20)[:, None, None] * np.ones((1, 4, 3))
    smoothed = smooth(wave.astype(np.float32), 1.5)
    assert smoothed.dtype == np.float32
    assert np.allclose(smoothed, smoothed[::-1])
    assert smoothed[20:41, 0, 0].argmax() == 10
    assert np.allclose(smooth(np.full((9, 2, 3), 7.0)), 7)
    gap = wave.copy()
    gap[10:14] = np.nan
    kept = np.isfinite(smooth(gap, 2)).all(axis=(1, 2))
    assert np.flatnonzero(~kept).tolist() == [10, 11, 12, 13]
    assert np.array_equal(smooth(wave, 0), wave)


def test_smoothing_removes_trembling():
    noise = np.random.default_rng(0).normal(size=(200, 10, 3))
    assert smooth(noise, 1.0).std() < 0.6 * noise.std()
