"""The shipped networks: their folder, their manifest, and sessions to run them."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import onnxruntime

from datagen.weights.onnx import ModelInfo, checked, open_session

MANIFEST_NAME = "models.json"
TRIANGLES_NAME = "face_mesh_triangles.npy"
WEIGHTS = Path(str(resources.files("datagen.faces.mediapipe"))) / "weights"


def shipped(name: str, folder: Path = WEIGHTS) -> ModelInfo:
    """Entry of a shipped network in `models.json`; the network itself is not opened.

    Raises:
        KeyError: there is no such network.
    """
    for entry in json.loads((folder / MANIFEST_NAME).read_text()):
        if entry["name"] == name:
            return ModelInfo(entry["name"], entry["version"], entry["sha256"], entry["licence"])
    raise KeyError(name)


def open_shipped(name: str, folder: Path = WEIGHTS) -> onnxruntime.InferenceSession:
    """A session for a shipped network whose file has the hash in `models.json`.

    Raises:
        UserError: the file is missing or its sha256 differs.
    """
    return open_session(checked(folder / f"{name}.onnx", shipped(name, folder).sha256))
