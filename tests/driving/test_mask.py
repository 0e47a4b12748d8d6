import numpy as np
import pytest

from datagen.driving.mask import driving_box, grey, mask_driving


def test_driving_box_is_the_squared_face_box_with_margins():
    # wide box: 40 x 20 around (50, 60) is squared to 40; 40 % above and 10 % below
    assert driving_box(np.array([30, 50, 70, 70]), (200, 200)) == (30, 24, 70, 84)


def test_the_driving_box_stays_in_the_frame():
    assert driving_box(np.array([-10, -10, 90, 90]), (64, 48)) == (0, 0, 48, 64)


def test_grey_has_the_published_weights():
    assert grey(np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)).tolist() == [76, 150, 29]


def test_the_outside_is_black_and_a_frame_without_face_entirely():
    frames = np.full((2, 60, 60, 3), 200, np.uint8)
    boxes = np.array([[20, 20, 40, 40], [np.nan] * 4], np.float32)
    masked = mask_driving(frames, boxes)
    assert masked.shape == (2, 60, 60)
    assert masked[1].max() == 0
    x0, y0, x1, y1 = driving_box(boxes[0], (60, 60))
    assert (masked[0, y0:y1, x0:x1] == 200).all()
    masked[0, y0:y1, x0:x1] = 0
    assert masked[0].max() == 0


def test_hull_is_inside_the_landmarks(clip):
    masked = mask_driving(clip.frames, clip.faces.box, "hull", clip.faces.landmarks)
    rows, columns = np.nonzero(masked[0])
    low, high = clip.faces.landmarks[0, :, :2].min(axis=0), clip.faces.landmarks[0, :, :2].max(axis=0)
    assert columns.min() >= low[0] - 1
    assert columns.max() <= high[0] + 1
    assert rows.min() >= low[1] - 1
    assert rows.max() <= high[1] + 1


def test_hull_needs_landmarks():
    with pytest.raises(ValueError, match="landmarks"):
        mask_driving(np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 4)), "hull")
