import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.curate.timeline import MAX_STEP_S, breaks, timeline
from datagen.media import VideoInfo
from datagen.recipe import load_recipe


def info(fps, *, constant=True, frames=100):
    return VideoInfo(
        width=64, height=64, fps=fps, frames=frames, duration_s=frames / fps, constant_rate=constant,
        has_audio=False, codec="h264", rotation=0,
    )  # fmt: skip


def settings(*assignments):
    return load_recipe(None, [f"curate.{item}" for item in assignments]).curate


def test_constant_sources_keep_every_frame():
    chosen, fps = timeline(info(25), np.arange(100) / 25, settings())
    assert np.array_equal(chosen, np.arange(100))
    assert fps == 25


def test_fast_sources_are_thinned_by_a_whole_factor():
    chosen, fps = timeline(info(59.94), np.arange(100) / 59.94, settings())
    assert np.array_equal(chosen, np.arange(0, 100, 2))
    assert fps == 30000 / 1001


def test_variable_sources_show_the_nearest_frame_at_every_tick():
    times = np.array([0, 0.04, 0.08, 0.2, 0.24, 0.28, 0.32])
    chosen, fps = timeline(info(25, constant=False), times, settings())
    assert fps == 25
    assert chosen.tolist() == [0, 1, 2, 2, 3, 3, 4, 5, 6] or chosen.tolist() == [0, 1, 2, 2, 2, 3, 4, 5, 6]


def test_a_given_frame_rate_is_used():
    chosen, fps = timeline(info(25), np.arange(100) / 25, settings("fps=12.5"))
    assert fps == 12.5
    assert np.array_equal(chosen, np.arange(0, 100, 2))


@pytest.mark.parametrize("assignments", [(), ("fps=12.5",)])
def test_a_jump_in_the_timestamps_is_not_filled_with_copies(assignments):
    times = np.arange(24) / 25 + np.where(np.arange(24) < 12, 0, 95443.0)
    average = info(23 / times[-1], constant=False, frames=24)
    chosen, fps = timeline(average, times, settings(*assignments))
    assert fps == (12.5 if assignments else 25)
    assert chosen.tolist() == list(range(0, 24, 2 if assignments else 1))
    assert breaks(times[chosen]).tolist() == [len(chosen) // 2]


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=50), st.sampled_from([(), ("fps=30",)]))
def test_ticks_are_bounded_by_the_frames(steps, assignments):
    times = np.concatenate([[0], np.cumsum(steps)])
    average = info(len(steps) / times[-1], constant=False, frames=len(times))
    chosen, fps = timeline(average, times, settings(*assignments))
    assert len(chosen) <= len(times) * (MAX_STEP_S * fps + 1)
    assert (np.diff(chosen) >= 0).all() and chosen[0] == 0
