"""Numbers in the cards, which leave withdrawn people out."""

from __future__ import annotations

from pathlib import Path

from datagen.inspect.cards import write_cards
from datagen.output.paths import Output
from datagen.output.tombstones import withdraw
from datagen.shards import Dataset
from tests.inspect.cards.made import (
    card,
    described,
    header,
    load,
    records,
    write_clips,
)


def test_withdrawn_people_are_neither_named_nor_counted_nor_read(output: Output, tmp_path: Path) -> None:
    gone = {
        "subject": "Jane Doe",
        "credit": "Jane Doe's channel",
        "dataset": "janes-talks",
        "licence": "Jane's own",
    }
    write_clips(output, "p00000-u00", [gone, {}])
    write_clips(output, "p00000-u01", [{}, {}, {}])
    write_cards(output, Dataset(output.root))
    assert "Jane" in card(output) and "| clips | 5 |" in card(output)
    withdraw(output, subject="Jane Doe")
    write_cards(output, Dataset(output.root))
    for name in ("README.md", "croissant.json"):
        assert "jane" not in (output.root / name).read_text().lower()
    assert "| clips | 4 |" in card(output) and "compact OUT --purge" in card(output)
    left = {f"clip01{number:02d}-0a1b2c3d-t0-f0" for number in range(3)}
    assert {clip["__key__"] for clip in load(output, tmp_path / "cache")} == left
    assert {record["clip_id"] for record in records(output)} == left


def test_a_tombstone_without_clips_leaves_no_file_out(filled: Output) -> None:
    withdraw(filled, sources=["long-purged.mp4"])
    write_cards(filled, Dataset(filled.root))
    assert header(filled)["configs"][0]["data_files"] == "shards/*.tar" and len(records(filled)) == 5


def test_an_output_without_remaining_clips_has_cards(filled: Output) -> None:
    for unit in ("p00000-u00", "p00000-u01"):
        withdraw(filled, sources=[f"{unit}.mp4"])
    write_cards(filled, Dataset(filled.root))
    assert "| clips | 0 |" in card(filled) and header(filled)["configs"][0]["data_files"] == []
    assert described(filled).metadata.record_sets == []
