"""Windows over long videos."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.diffusion.windows import blend_weights, cover
from trainer.model.config import WindowConfig


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 80),
    size=st.integers(1, 20),
    overlap=st.integers(0, 19),
    closed=st.booleans(),
    guided=st.booleans(),
)
def test_windows_cover_every_frame_with_weights_that_sum_to_one(
    frames: int, size: int, overlap: int, closed: bool, guided: bool
) -> None:
    config = WindowConfig(size, min(overlap, size - 1), closed)
    windows = cover(frames, config)
    assert {frame for window in windows for frame in window} == set(range(frames))
    assert all(len(window) == min(size, frames) for window in windows)
    weights = blend_weights(windows, frames, config, guided)
    torch.testing.assert_close(weights.sum(0), torch.ones(frames))
    if not closed:
        assert windows[-1][-1] == frames - 1
        assert all(window == list(range(window[0], window[-1] + 1)) for window in windows)


def test_the_published_sampler_sums_windows_only_without_guidance() -> None:
    config = WindowConfig(4, 2, closed=True, sum_unguided=True)
    windows = cover(6, config)
    assert blend_weights(windows, 6, config, guided=False).sum(0).max() > 1
    torch.testing.assert_close(blend_weights(windows, 6, config, guided=True).sum(0), torch.ones(6))
