import numpy as np
import pytest

from datagen.faces import geometry
from datagen.faces.smoothing import fill_gaps, without_jitter
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


def test_a_face_needs_no_move_to_look_like_itself(clip):
    face = clip.faces.landmarks[0]
    turned = face * 1.3 + [5, 3, 0]
    assert np.abs(identity_moves(face, turned, 1.0)).max() < 0.05


def test_moves_change_the_build_but_not_how_far_eyes_and_mouth_are_open(clip, donor):
    mean = mean_shape(clip.faces.landmarks)
    moved = mean + identity_moves(mean, donor.landmarks, 0.9)
    assert np.linalg.norm(moved - mean, axis=1).max() > 2
    assert geometry.eye_opening(moved) == pytest.approx(geometry.eye_opening(mean), abs=0.03)
    assert geometry.mouth_opening(moved) == pytest.approx(geometry.mouth_opening(mean), abs=0.04)


def test_gaps_are_bridged_in_time():
    track = np.arange(5, dtype=np.float32)[:, None, None] * np.ones((5, 3, 2), np.float32)
    broken = track.copy()
    broken[[0, 2]] = np.nan
    filled = fill_gaps(broken)
    np.testing.assert_allclose(filled[1:], track[1:])
    np.testing.assert_allclose(filled[0], track[1])


def test_a_track_without_any_frame_is_an_error():
    with pytest.raises(ValueError, match="finite"):
        fill_gaps(np.full((3, 4), np.nan))


def test_jitter_goes_and_motion_stays():
    rng = np.random.default_rng(0)
    face = rng.uniform(0, 200, (40, 3)).astype(np.float32)
    still = np.repeat(face[None], 30, axis=0)
    calm = without_jitter(still + rng.normal(0, 0.5, still.shape).astype(np.float32))
    assert np.std(calm - still) < 0.3
    blink = still.copy()
    blink[10:12, 0, 1] += 15
    np.testing.assert_allclose(without_jitter(blink), blink, atol=0.2)
