"""The cards say what may be read, in forms that `mlcroissant`, `datasets` and the hub take as they are."""

from __future__ import annotations

import datetime
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import DatasetCard

from datagen.inspect.cards import write_cards
from datagen.output.paths import Output
from datagen.output.schema import INDEX
from datagen.output.temporary import temporary
from datagen.output.tombstones import withdraw
from datagen.shards import Dataset, ShardWriter
from datagen.shards.writer import publish_unit, row_json
from tests.shards.made import clip_row

STREAMS = ("video", "swapped", "driving_video", "driving_swapped")
NESTED = {
    "crop": {"x": -3, "y": 4, "size": 300},
    "padding": {"left": 3, "top": 0, "right": 0, "bottom": 0},
    "augmentations": [{"stream": "video", "scale": 0.9, "aspect": 1.1}],
    "models": [{"name": "face_mesh", "version": "1", "sha256": "ab", "licence": "Apache-2.0"}],
}


def write_clips(output: Output, unit: str, clips: list[dict[str, Any]]) -> None:
    """A unit whose clips have what a clip has; `swapped=False` leaves a clip without that stream."""
    shard = ShardWriter(temporary(output.tmp, f"{unit}.tar"))
    rows = []
    for number, values in enumerate(clips):
        names = [name for name in STREAMS if values.get("swapped", True) or "swapped" not in name]
        values = {key: value for key, value in values.items() if key != "swapped"}
        row = clip_row(unit, number, dataset="talks", licence="CC BY 4.0", consent="given", **NESTED) | values
        files: dict[str, bytes] = {f"{name}.mp4": f"{name} {number}".encode() for name in names}
        files |= {"face.safetensors": b"face", "json": row_json(row)}
        row["members"] = shard.add(row["clip_id"], files)
        rows.append(row)
    publish_unit(output, unit, shard, rows, [])


@pytest.fixture
def filled(output: Output) -> Output:
    write_clips(output, "p00000-u00", [{}, {"swapped": False}, {}])
    write_clips(output, "p00000-u01", [{"sharing": "allowed"}, {"swapped": False}])
    write_cards(output, Dataset(output.root))
    return output


def header(output: Output) -> dict[str, Any]:
    return DatasetCard((output.root / "README.md").read_text()).data.to_dict()


def card(output: Output) -> str:
    return DatasetCard((output.root / "README.md").read_text()).text


def load(output: Output, cache: Path) -> list[dict[str, Any]]:
    datasets = pytest.importorskip("datasets", reason="needs the dev extra's `datasets`")
    loaded = datasets.load_dataset(str(output.root), split="train", cache_dir=str(cache))
    return list(loaded)


def records(output: Output) -> list[dict[str, Any]]:
    return [plain(record) for record in described(output).records("clips")]


def described(output: Output) -> Any:
    """The output as mlcroissant sees it; it finds nothing wrong."""
    mlcroissant = pytest.importorskip("mlcroissant", reason="needs the dev extra's `mlcroissant`")
    found = mlcroissant.Dataset(output.root / "croissant.json")
    assert not found.metadata.ctx.issues.errors and not found.metadata.ctx.issues.warnings
    return found


def plain(value: Any) -> Any:
    """A record of mlcroissant as the index has it: it names fields `clips/...` and gives text as bytes."""
    if isinstance(value, dict):
        return {key.rpartition("/")[2]: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value.decode() if isinstance(value, bytes) else value


def test_mlcroissant_reads_every_column_without_a_warning(
    filled: Output, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        read = records(filled)
    assert not caplog.records
    by_id = {row["clip_id"]: row for row in Dataset(filled.root).table.to_pylist()}
    assert {record["clip_id"]: record for record in read} == by_id and len(read) == len(by_id) == 5
    assert set(read[0]) == {column.name for column in INDEX}


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


def test_an_output_of_which_nothing_is_left_has_cards_too(filled: Output) -> None:
    for unit in ("p00000-u00", "p00000-u01"):
        withdraw(filled, sources=[f"{unit}.mp4"])
    write_cards(filled, Dataset(filled.root))
    assert "| clips | 0 |" in card(filled) and header(filled)["configs"][0]["data_files"] == []
    assert described(filled).metadata.record_sets == []


def test_sharing_states_the_strictest_and_names_the_data_sets(output: Output) -> None:
    write_clips(output, "p00000-u00", [{"dataset": "open-talks", "sharing": "allowed"}] * 2)
    write_cards(output, Dataset(output.root))
    assert "All clips may be passed on" in card(output) and "--where" not in card(output)
    rules = [("kept-talks", "forbidden"), ("alike-talks", "same-licence"), ("quiet-talks", None)]
    write_clips(output, "p00000-u01", [{"dataset": name, "sharing": word} for name, word in rules])
    write_cards(output, Dataset(output.root))
    stated = json.loads((output.root / "croissant.json").read_text())["conditionsOfAccess"]
    assert stated in card(output)
    assert stated.split(". ") == [
        "As a whole, the clips may not be passed on",
        "Clips of kept-talks may not be passed on",
        "Clips of quiet-talks come with no word on whether they may be passed on: ask their owners first",
        "Clips of alike-talks may be passed on under the licence of their footage only",
        "Clips of open-talks may be passed on.",
    ]
    assert "--where \"sharing = 'allowed'\"" in card(output)
    assert len(Dataset(output.root, where="sharing = 'allowed'")) == 2


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
def test_licences_are_given_as_the_hub_knows_them(
    output: Output, licences: list[str | None], stated: dict[str, Any]
) -> None:
    write_clips(output, "p00000-u00", [{"licence": text} for text in licences])
    write_cards(output, Dataset(output.root))
    assert {key: value for key, value in header(output).items() if key.startswith("license")} == stated


def test_words_from_outside_stay_words(output: Output) -> None:
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


def test_old_cards_go_and_other_peoples_stay(filled: Output) -> None:
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
