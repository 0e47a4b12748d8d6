"""The Croissant card, as `mlcroissant` reads it."""

from __future__ import annotations

import datetime
import json
import logging
import os

import pytest

from datagen.inspect.cards import write_cards
from datagen.output.paths import Output
from datagen.output.schema import INDEX
from datagen.shards import Dataset
from tests.inspect.cards.made import (
    records,
    write_clips,
)


def test_mlcroissant_reads_every_column_without_a_warning(
    filled: Output, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        read = records(filled)
    assert not caplog.records
    by_id = {row["clip_id"]: row for row in Dataset(filled.root).table.to_pylist()}
    assert {record["clip_id"]: record for record in read} == by_id and len(read) == len(by_id) == 5
    assert set(read[0]) == {column.name for column in INDEX}


def test_the_version_follows_the_clips_and_the_date_the_files(filled: Output) -> None:
    for path in filled.index.iterdir():
        os.utime(path, (0, 86_400 * 365))
    written = []
    for _ in range(2):
        write_cards(filled, Dataset(filled.root))
        written.append((filled.root / "croissant.json").read_bytes())
    stated = json.loads(written[0])
    assert written[0] == written[1]
    assert datetime.date.fromisoformat(stated["datePublished"]) == datetime.date(1971, 1, 1)
    write_clips(filled, "p00000-u02", [{}])
    write_cards(filled, Dataset(filled.root))
    assert json.loads((filled.root / "croissant.json").read_text())["version"] != stated["version"]
