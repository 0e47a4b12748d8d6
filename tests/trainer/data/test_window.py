from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.common.seeding import keyed_rng
from trainer.data.window import choose_window, reference_candidates, stride_of


@pytest.mark.parametrize(("fps", "stride"), [(8, 1), (12.5, 1), (24, 2), (25, 2), (30, 2), (50, 4), (60, 5)])
def test_stride_keeps_time(fps: float, stride: int) -> None:
    assert stride_of(fps, 12.5, clip_frames=500, frames=12) == stride


def test_stride_shrinks_for_short_clips() -> None:
    assert stride_of(60, 12.5, clip_frames=33, frames=12) == 2
    assert stride_of(25, 12.5, clip_frames=12, frames=12) == 1
    assert stride_of(25, 12.5, clip_frames=1, frames=1) == 2  # no step is taken


@given(
    clip_frames=st.integers(1, 300),
    frames=st.integers(1, 24),
    stride=st.integers(1, 5),
    count=st.sampled_from([0, 1, 4, 9]),
    seed=st.integers(0, 99),
)
def test_reference_is_outside_wherever_it_can_be(
    clip_frames: int, frames: int, stride: int, count: int, seed: int
) -> None:
    span = (frames - 1) * stride + 1
    candidates = reference_candidates(f"clip{seed}", clip_frames, count)
    assert candidates == sorted(set(candidates))
    assert len(candidates) == (min(count, clip_frames) if count else clip_frames)
    if span > clip_frames:
        with pytest.raises(ValueError, match=f"the clip has {clip_frames} frames"):
            choose_window(keyed_rng(seed), clip_frames, stride, frames, candidates)
        return
    window = choose_window(keyed_rng(seed), clip_frames, stride, frames, candidates)
    first, last = window.indices_F[0], window.indices_F[-1]
    assert 0 <= first <= last < clip_frames
    assert len(window.indices_F) == frames and (np.diff(window.indices_F) == stride).all()
    assert window.reference == candidates[window.candidate]
    if clip_frames > span:
        assert not first <= window.reference <= last


def test_without_room_the_reference_is_a_frame_stepped_over() -> None:
    for seed in range(20):
        window = choose_window(keyed_rng(seed), 23, 2, 12, list(range(23)))
        assert window.reference not in window.indices_F


def test_windows_cover_the_clip() -> None:
    candidates = reference_candidates("a", 60, 4)
    starts = {int(choose_window(keyed_rng(seed), 60, 2, 12, candidates).indices_F[0]) for seed in range(600)}
    assert starts == set(range(38))
