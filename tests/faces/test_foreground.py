"""Foreground masks: steady, without specks, and of the person."""

import numpy as np

from datagen.faces.foreground import foreground


class Shaky:
    """A segmenter that sees a disc with noisy probability, too low in one frame."""

    def __init__(self) -> None:
        self.calls = 0

    def foreground(self, rgb: np.ndarray) -> np.ndarray:
        rows, columns = np.indices(rgb.shape[:2])
        disc = ((rows - 32) ** 2 + (columns - 32) ** 2 < 400).astype(np.float32)
        noise = np.random.default_rng(self.calls).random(rgb.shape[:2], np.float32)
        self.calls += 1
        disc[5, 5] = 1
        return disc * (0.7 + 0.3 * noise) if self.calls != 4 else disc * 0.4


def test_foreground_is_steady_and_segments_each_frame_once():
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
