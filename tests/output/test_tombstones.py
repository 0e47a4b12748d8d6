"""Withdrawn footage."""

from __future__ import annotations

import pytest

from datagen.common.errors import UserError
from datagen.output.paths import Output
from datagen.output.tombstones import withdraw
from datagen.shards import Dataset
from tests.shards.made import clip_row


def test_withdrawn_footage_is_gone_for_every_reader(dataset: Output) -> None:
    open_before = Dataset(dataset.root)
    rows = {row["unit"]: row for row in open_before.table.to_pylist()}
    assert open_before.read(rows["p00000-u00"], "video.mp4")
    assert withdraw(dataset, sources=["p00000-u00.mp4"]) and not withdraw(dataset, sources=["p00000-u00.mp4"])
    with pytest.raises(UserError, match="was withdrawn after"):
        open_before.read(rows["p00000-u00"], "video.mp4")
    assert open_before.read(rows["p00000-u01"], "video.mp4")
    assert b"p00000" not in next(dataset.withdrawn.iterdir()).read_bytes()
    assert [row["unit"] for row in Dataset(dataset.root).table.to_pylist()] == ["p00000-u01"] * 2
    withdraw(dataset, subject="person 1")
    data = Dataset(dataset.root, "frames > 0")
    assert len(data) == 1
    with pytest.raises(UserError, match="no clip"):
        data.clip(clip_row("p00000-u00", 0)["clip_id"])
    next(dataset.withdrawn.iterdir()).write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        Dataset(dataset.root)
