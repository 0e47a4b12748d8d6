import numpy as np
import pytest

from datagen.faces import geometry
from datagen.imaging.alignment import Similarity, identity_moves, mean_shape


def test_similarity_is_recovered():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(30, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    moved = 2.5 * points @ turn + [3, -1, 2]
    found = Similarity.between(points, moved)
    assert found.scale == pytest.approx(2.5)
    np.testing.assert_allclose(found(points), moved, atol=1e-9)


def test_aligning_a_face_with_itself_moves_nothing(clip):
    face = clip.faces.landmarks[0]
    turned = face * 1.3 + [5, 3, 0]
    assert np.abs(identity_moves(face, turned, 1.0)).max() < 0.05


def test_moves_change_the_build_but_not_how_far_eyes_and_mouth_are_open(clip, donor):
    mean = mean_shape(clip.faces.landmarks)
    moved = mean + identity_moves(mean, donor.landmarks, 0.9)
    assert np.linalg.norm(moved - mean, axis=1).max() > 2
    assert geometry.eye_opening(moved) == pytest.approx(geometry.eye_opening(mean), abs=0.03)
    assert geometry.mouth_opening(moved) == pytest.approx(geometry.mouth_opening(mean), abs=0.04)
