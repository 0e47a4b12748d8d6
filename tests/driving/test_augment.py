import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.driving.augment import Augmentation

factors = st.floats(0.8, 1.2)


def test_the_identity_augmentation_returns_the_same_arrays():
    frames, boxes = np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 4), np.float32)
    same_frames, same_boxes = Augmentation().apply(frames, boxes)
    assert same_frames is frames
    assert same_boxes is boxes


@given(factors, factors)
def test_boxes_move_with_the_picture(scale, aspect):
    frames = np.zeros((1, 64, 96), np.float32)
    frames[0, 20:41, 30:61] = 1
    moved, boxes = Augmentation(scale, aspect).apply(frames, np.array([[30, 20, 60, 40]], np.float32))
    rows, columns = np.nonzero(moved[0] > 0.5)
    np.testing.assert_allclose(boxes[0], [columns.min(), rows.min(), columns.max(), rows.max()], atol=1)


@given(st.integers(0, 2**31 - 1), st.floats(0, 1))
def test_drawn_factors_stay_in_bounds_and_use_the_generator_alike(seed, rate):
    used, other = np.random.default_rng(seed), np.random.default_rng(seed)
    drawn = Augmentation.draw(used, rate)
    Augmentation.draw(other, 1 - rate)
    assert 0.8 <= drawn.scale <= 1.2
    assert 0.8 <= drawn.aspect <= 1.2
    assert used.random() == other.random()


def test_rate_is_a_probability():
    rng = np.random.default_rng(0)
    drawn = [Augmentation.draw(rng, 0.25) != Augmentation() for _ in range(2000)]
    assert np.mean(drawn) == pytest.approx(0.25, abs=0.03)


def test_colour_grey_and_float_frames_keep_their_type():
    for shape, dtype in (((1, 16, 16), np.uint8), ((1, 16, 16, 1), np.float32), ((2, 16, 16, 3), np.float32)):
        moved, _ = Augmentation(1.1, 0.9).apply(np.ones(shape, dtype), np.zeros((shape[0], 4), np.float32))
        assert moved.shape == shape
        assert moved.dtype == dtype


def test_pixels_from_outside_are_black():
    moved, _ = Augmentation(0.8, 1.0).apply(np.full((1, 20, 20), 255, np.uint8), np.zeros((1, 4), np.float32))
    assert moved[0, 0].max() == 0
    assert moved[0, 10, 10] == 255


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_factors_are_refused_by_name(bad):
    with pytest.raises(ValueError, match="scale"):
        Augmentation(scale=bad)
