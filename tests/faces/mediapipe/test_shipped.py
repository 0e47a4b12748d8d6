"""Shipped networks: hashes, names, and errors when one is damaged or missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from datagen.common.errors import UserError
from datagen.common.hashing import file_sha256
from datagen.faces.mediapipe import shipped as models


def test_every_shipped_file_has_the_hash_its_manifest_names():
    for entry in json.loads((models.WEIGHTS / models.MANIFEST_NAME).read_text()):
        assert file_sha256(models.WEIGHTS / entry["file"]) == entry["sha256"]
        assert entry["licence"] == "Apache-2.0"
        assert entry["source_sha256"] and entry["source"]


def test_a_changed_file_is_refused(tmp_path: Path):
    folder = shutil.copytree(models.WEIGHTS, tmp_path / "weights")
    with (folder / "iris.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(UserError, match="sha256"):
        models.open_shipped("iris", folder)


def test_a_missing_file_is_refused(tmp_path: Path):
    folder = shutil.copytree(models.WEIGHTS, tmp_path / "weights")
    (folder / "iris.onnx").unlink()
    with pytest.raises(UserError, match="install the package again"):
        models.open_shipped("iris", folder)
