from __future__ import annotations

import pickle
from collections import Counter
from itertools import islice

import pytest

from trainer.data.order import Order


def clips_of(order: Order, slots: range) -> list[tuple[int, int]]:
    places = [order.place(slot) for slot in slots]
    return [(place.source, next(order.clips(place))) for place in places]


def test_an_epoch_without_weights_holds_every_clip_once() -> None:
    order = Order([5, 3], seed=1)
    first, second = clips_of(order, range(8)), clips_of(order, range(8, 16))
    assert sorted(first) == sorted(second) == [(0, n) for n in range(5)] + [(1, n) for n in range(3)]
    assert first != second
    assert [order.place(slot).epoch for slot in (0, 7, 8)] == [0, 0, 1]


def test_weights_fix_the_shares_and_no_clip_comes_twice_in_a_pass() -> None:
    order = Order([100, 10], [1, 3], seed=2)
    clips = clips_of(order, range(2 * order.epoch_slots))
    shares = Counter(source for source, _ in clips)
    assert shares[1] == pytest.approx(3 * shares[0], rel=0.05)
    large = [clip for source, clip in clips if source == 0]
    small = [clip for source, clip in clips if source == 1]
    assert len(large) == len(set(large))
    for start in range(0, len(small) - 9, 10):
        assert sorted(small[start : start + 10]) == list(range(10))


def test_a_data_set_of_tiny_weight_is_still_sampled() -> None:
    order = Order([1000, 2], [1000, 1e-6], seed=0)
    assert any(source == 1 for source, _ in clips_of(order, range(order.epoch_slots)))


def test_slots_can_be_asked_in_any_order() -> None:
    order = Order([7, 4], [1, 1], seed=3)
    forward = clips_of(order, range(60))
    backward = [clips_of(order, range(slot, slot + 1))[0] for slot in reversed(range(60))]
    assert forward == backward[::-1]
    assert clips_of(pickle.loads(pickle.dumps(order)), range(60)) == forward


def test_seeds_differ() -> None:
    assert clips_of(Order([50], seed=0), range(50)) != clips_of(Order([50], seed=1), range(50))


def test_replacements_are_the_following_clips_each_once() -> None:
    order = Order([6], seed=0)
    place = order.place(4)
    in_order = [clip for _, clip in clips_of(order, range(6))]
    assert list(order.clips(place)) == in_order[4:] + in_order[:4]
    assert list(islice(order.clips(order.place(0)), 6)) == in_order
