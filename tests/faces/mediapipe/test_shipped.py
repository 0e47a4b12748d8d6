"""Shipped networks: intact, named, loaded only when used, the same numbers everywhere."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from datagen.common.errors import UserError
from datagen.faces import FaceAnalyser
from datagen.faces import identity as identity_module
from datagen.faces.mediapipe import shipped as models


def test_every_shipped_file_has_the_hash_its_manifest_names():
    for entry in json.loads((models.WEIGHTS / models.MANIFEST_NAME).read_text()):
        assert hashlib.sha256((models.WEIGHTS / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
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


def test_naming_the_models_loads_none(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a network was opened")

    monkeypatch.setattr(models.onnxruntime, "InferenceSession", refuse)
    found = FaceAnalyser().models
    assert {model.name for model in found} >= {"blazeface_short", "face_mesh", "iris", "selfie"}
    assert all(len(model.sha256) == 64 and model.licence and model.version for model in found)


def test_missing_identity_weights_name_the_package(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("dlib")
    monkeypatch.setattr(identity_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install face_recognition_models"):
        identity_module.DlibIdentity()


def test_missing_dlib_names_the_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(UserError, match="pip install dlib-bin"):
        identity_module.DlibIdentity()


_DIGEST = """
import hashlib, numpy as np
from skimage import data
from datagen.faces import FaceAnalyser
rgb = np.ascontiguousarray(data.astronaut())
analyser = FaceAnalyser()
face = analyser.detect(rgb)[0]
points, presence = analyser.landmarks(rgb, face)
parts = [face.box, face.points, points, np.float64(presence), analyser.irises(rgb, points),
         analyser.embed(rgb, points), analyser.foreground(rgb)]
print(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
"""


def test_two_processes_get_the_same_numbers():
    pytest.importorskip("dlib")
    command = [sys.executable, "-c", _DIGEST]
    digests = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert digests[0] == digests[1] != ""
