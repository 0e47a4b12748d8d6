"""The README, as `datasets` and the hub read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from datagen.inspect.cards import write_cards
from datagen.output.paths import Output
from datagen.shards import Dataset
from tests.inspect.cards.made import (
    STREAMS,
    card,
    header,
    load,
    records,
    write_clips,
)


def test_datasets_gives_clips_with_every_stream(filled: Output, tmp_path: Path) -> None:
    clips = load(filled, tmp_path / "cache")
    assert [clip["__key__"] for clip in clips] == Dataset(filled.root).table["clip_id"].to_pylist()
    assert {*clips[0]} == {
        "__key__",
        "__url__",
        "json",
        "face.safetensors",
        *(f"{name}.mp4" for name in STREAMS),
    }
    assert clips[2]["swapped.mp4"]["bytes"] == b"swapped 2" and clips[0]["face.safetensors"] == b"face"
    lacking = [(clip["swapped.mp4"] is None, clip["driving_swapped.mp4"] is None) for clip in clips]
    assert lacking == [(False, False), (True, True), (False, False), (False, False), (True, True)]
    for clip in clips:
        row = Dataset(filled.root).clip(clip["__key__"])
        assert clip["json"] == {key: value for key, value in row.items() if key not in ("shard", "members")}


def test_datasets_reads_the_index(filled: Output, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the dev extra's `datasets`")
    pieces = str(filled.index / "*.parquet")
    rows = datasets.load_dataset(
        "parquet", data_files=pieces, split="train", cache_dir=str(tmp_path / "cache")
    )
    assert rows.to_list() == Dataset(filled.root).table.to_pylist()


def test_features_follow_what_occurs(output: Output, tmp_path: Path) -> None:
    write_clips(output, "p00000-u00", [{"swapped": False}])
    write_cards(output, Dataset(output.root))
    names = [feature["name"] for feature in header(output)["dataset_info"]["features"]]
    assert names == ["driving_video.mp4", "face.safetensors", "json", "video.mp4", "__key__", "__url__"]
    assert load(output, tmp_path / "cache")[0]["video.mp4"]["bytes"] == b"video 0"


def test_credits_are_given(output: Output) -> None:
    write_clips(output, "p00000-u00", [{"credit": "A. Author"}, {"credit": "A. Author"}, {"credit": "B"}, {}])
    write_cards(output, Dataset(output.root))
    assert "| talks | A. Author | 2 |\n| talks | B | 1 |\n" in card(output)
    assert json.loads((output.root / "croissant.json").read_text())["creditText"] == ["A. Author", "B"]


@pytest.mark.parametrize(
    ("licences", "stated"),
    [
        (["CC BY 4.0"], {"license": "cc-by-4.0"}),
        (["CC BY 4.0", "cc0-1.0"], {"license": ["cc-by-4.0", "cc0-1.0"]}),
        (["Talks' own terms, v2"], {"license": "other", "license_name": "talks-own-terms-v2"}),
        (["CC BY 4.0", "own"], {"license": "other", "license_name": "several-see-below"}),
        ([None], {"license": "other", "license_name": "unstated"}),
    ],
)
def test_licences_use_the_identifiers_of_the_hub(
    output: Output, licences: list[str | None], stated: dict[str, Any]
) -> None:
    write_clips(output, "p00000-u00", [{"licence": text} for text in licences])
    write_cards(output, Dataset(output.root))
    assert {key: value for key, value in header(output).items() if key.startswith("license")} == stated


def test_text_from_manifests_is_escaped(output: Output) -> None:
    nasty = "a | b\n---\n# <img src=x onerror=1>\x1b[31m [x](javascript:1)"
    write_clips(
        output, "p00000-u00", [{"licence": nasty, "consent": nasty, "credit": nasty, "dataset": nasty}]
    )
    write_cards(output, Dataset(output.root))
    text = (output.root / "README.md").read_text()
    assert "\x1b" not in text and text.count("<img") == text.count("\\<img") > 0 and "[x](" not in text
    assert [line for line in text.splitlines() if line.startswith("# ")] == ["# out"]
    assert header(output)["license_name"].startswith("a-b-img")
    assert yaml.safe_load(text.split("---\n")[1])["dataset_info"]["config_name"] == "default"
    assert len(records(output)) == 1


def test_old_cards_are_removed_and_files_of_the_user_stay(filled: Output) -> None:
    old = filled.root / "DATASET.md"
    old.write_text(
        "# out\n\nTalking-head clips with synthetic counterparts, made by megactor-datagen 0.1.0.\n"
    )
    (filled.root / "README.md").write_text("my own words")
    write_cards(filled, Dataset(filled.root))
    assert not old.exists()
    assert (filled.root / "README.own.md").read_text() == "my own words" and "| clips | 5 |" in card(filled)
    old.write_text("my own words")
    write_cards(filled, Dataset(filled.root))
    assert old.exists()
    assert not list(filled.tmp.iterdir())
