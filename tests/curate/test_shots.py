"""Cuts between shots."""

import numpy as np

from datagen.curate.shots import FrameChange, find_cuts


def test_a_cut_is_found_and_motion_is_not():
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (90, 160, 3), np.uint8) // 2 for _ in range(2))
    second = 255 - second
    frames = [np.roll(first, 3 * n, axis=1) for n in range(20)] + [
        np.roll(second, 3 * n, axis=1) for n in range(20)
    ]
    change = FrameChange()
    assert find_cuts(np.array([change(frame) for frame in frames]), 0.35) == [20]
