"""The registry of weights."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from datagen.common.errors import UserError
from datagen.weights.registry import WEIGHTS, weight


def test_entries_are_complete() -> None:
    assert len({entry.name for entry in WEIGHTS}) == len(WEIGHTS)
    for entry in WEIGHTS:
        assert entry.licence and entry.used_by and entry.bytes > 0
        assert entry.repo or all(file.url.startswith("https://") for file in entry.files)
        for file in entry.files:
            assert not Path(file.path).is_absolute() and ".." not in Path(file.path).parts
            assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'sd2' is not a known weight; known: sd15, ") as caught:
        weight("sd2")
    assert caught.value.code == 2
