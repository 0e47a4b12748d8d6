"""A data set with cards."""

from __future__ import annotations

import pytest

from datagen.inspect.cards import write_cards
from datagen.output.paths import Output
from datagen.shards import Dataset
from tests.inspect.cards.made import write_clips


@pytest.fixture
def filled(output: Output) -> Output:
    write_clips(output, "p00000-u00", [{}, {"swapped": False}, {}])
    write_clips(output, "p00000-u01", [{"sharing": "allowed"}, {"swapped": False}])
    write_cards(output, Dataset(output.root))
    return output
