"""Batches prepared ahead."""

from __future__ import annotations

import pytest

from datagen.common.errors import UserError
from trainer.train.prefetch import Prefetcher


def test_items_keep_their_order_and_errors_are_raised() -> None:
    def items():
        yield from range(5)
        raise UserError("broken")

    ahead = Prefetcher(items())
    assert [next(ahead) for _ in range(5)] == list(range(5))
    with pytest.raises(UserError, match="broken"):
        next(ahead)


def test_an_endless_iterator_can_be_left() -> None:
    ahead = Prefetcher(iter(int, 1))
    assert next(ahead) == 0
    ahead.close()
