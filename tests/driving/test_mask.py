import numpy as np
import pytest

from datagen.driving.mask import driving_box, grey, mask_driving
from datagen.faces.foreground import foreground


def test_driving_box_is_the_squared_face_box_with_margins():
    # wide box: 40 x 20 around (50, 60) is squared to 40; 40 % above and 10 % below
    assert driving_box(np.array([30, 50, 70, 70]), (200, 200)) == (30, 24, 70, 84)


def test_driving_box_stays_in_the_frame():
    assert driving_box(np.array([-10, -10, 90, 90]), (64, 48)) == (0, 0, 48, 64)


def test_grey_has_the_published_weights():
    assert grey(np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)).tolist() == [76, 150, 29]


def test_outside_is_black_and_a_lost_frame_entirely():
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


class Shaky:
    """A disc whose probability is noisy and drops out in one frame."""

    def __init__(self) -> None:
        self.calls = 0

    def foreground(self, rgb: np.ndarray) -> np.ndarray:
        rows, columns = np.indices(rgb.shape[:2])
        disc = ((rows - 32) ** 2 + (columns - 32) ** 2 < 400).astype(np.float32)
        noise = np.random.default_rng(self.calls).random(rgb.shape[:2], np.float32)
        self.calls += 1
        disc[5, 5] = 1
        return disc * (0.7 + 0.3 * noise) if self.calls != 4 else disc * 0.4


def test_foreground_is_steady_clean_and_looks_once_per_frame():
    segmenter = Shaky()
    masks = foreground(np.zeros((9, 64, 64, 3), np.uint8), segmenter)
    assert segmenter.calls == 9
    assert set(np.unique(masks)) == {0, 255}
    assert (masks[:, 5, 5] == 0).all()
    assert (masks[:, 32, 32] == 255).all()
    assert (np.diff(masks.astype(int), axis=0) != 0).mean() < 0.01


def test_foreground_finds_the_person(clip, analyser):
    masks = foreground(clip.frames[:2], analyser)
    nose = clip.faces.landmarks[0, 1, :2].astype(int)
    assert masks[0, nose[1], nose[0]] == 255
    assert 0.2 < (masks == 255).mean() < 0.95
