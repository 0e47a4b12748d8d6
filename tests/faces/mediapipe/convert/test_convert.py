"""The conversion script reproduces the shipped files and names what is missing."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

import datagen.faces.mediapipe.convert
from datagen.faces.mediapipe.convert import convert as script
from datagen.faces.mediapipe.shipped import WEIGHTS


@pytest.fixture
def wheel() -> Path:
    for package in ("tflite", "ai_edge_litert", "onnx"):
        pytest.importorskip(package)
    path = Path(os.environ.get("MEDIAPIPE_WHEEL", ""))
    if not path.is_file():
        pytest.skip("set MEDIAPIPE_WHEEL to a mediapipe 0.10.21 wheel")
    return path


def test_conversion_reproduces_the_shipped_files(wheel: Path, tmp_path: Path):
    differences = script.convert(wheel, tmp_path)
    assert all(difference.acceptable for difference in differences.values())
    for made in tmp_path.iterdir():
        shipped = WEIGHTS / made.name
        assert hashlib.sha256(made.read_bytes()).digest() == hashlib.sha256(shipped.read_bytes()).digest(), (
            made.name
        )


def test_a_wheel_without_the_models_is_one_error_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for package in ("tflite", "ai_edge_litert", "onnx"):
        pytest.importorskip(package)
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as other:
        other.writestr("other/__init__.py", "")
    assert script.main([str(tmp_path / "other.whl"), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: cannot read mediapipe/modules/") and error.count("\n") == 1


def test_missing_development_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(script.sys.modules, "tflite", None)
    monkeypatch.delitem(script.sys.modules, "datagen.faces.mediapipe.convert.tflite_to_onnx", raising=False)
    monkeypatch.delattr(datagen.faces.mediapipe.convert, "tflite_to_onnx", raising=False)
    assert script.main([str(tmp_path), str(tmp_path / "out")]) == 1
    assert "pip install 'megactor-datagen[convert]'" in capsys.readouterr().err
