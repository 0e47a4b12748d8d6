"""Gaps and jitter of landmarks in time."""

from __future__ import annotations

import numpy as np
import pytest

from datagen.faces import smooth
from datagen.faces.smoothing import fill_gaps, without_jitter


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


def test_jitter_is_removed_and_motion_kept():
    rng = np.random.default_rng(0)
    face = rng.uniform(0, 200, (40, 3)).astype(np.float32)
    still = np.repeat(face[None], 30, axis=0)
    calm = without_jitter(still + rng.normal(0, 0.5, still.shape).astype(np.float32))
    assert np.std(calm - still) < 0.3
    blink = still.copy()
    blink[10:12, 0, 1] += 15
    np.testing.assert_allclose(without_jitter(blink), blink, atol=0.2)


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


def test_smoothing_removes_noise():
    noise = np.random.default_rng(0).normal(size=(200, 10, 3))
    assert smooth(noise, 1.0).std() < 0.6 * noise.std()
