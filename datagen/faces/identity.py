"""dlib's face recognition network: an identity embedding of 128 numbers.

Embeddings are compared by Euclidean distance. dlib's authors take two faces for the same person below 0.6.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from datagen.common.errors import UserError
from datagen.faces.topology import DLIB_POINTS
from datagen.weights.onnx import ModelInfo, checked

SAME_PERSON = 0.6
INFO = ModelInfo(
    name="dlib_face_recognition_resnet_model_v1",
    version="face_recognition_models-0.3.0",
    sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    licence="CC0-1.0",
)


class DlibIdentity:
    """dlib's ResNet on a face that is aligned by its eye corners and nose base.

    Raises:
        UserError: dlib or its weights are not installed.
    """

    def __init__(self) -> None:
        try:
            import dlib
        except ModuleNotFoundError as missing:
            raise UserError("identity needs dlib, which is not installed: pip install dlib-bin") from missing
        self._dlib = dlib
        self._network = dlib.face_recognition_model_v1(str(checked(_weights(), INFO.sha256)))

    def __call__(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray:
        """Embedding (128,) float32 of the face with these landmarks."""
        flat = landmarks_NC[:, :2]
        points = [self._dlib.point(*map(int, np.rint(flat[index]))) for index in DLIB_POINTS]
        low, high = np.rint(flat.min(axis=0)), np.rint(flat.max(axis=0))
        box = self._dlib.rectangle(int(low[0]), int(low[1]), int(high[0]), int(high[1]))
        shape = self._dlib.full_object_detection(box, points)
        embedding = self._network.compute_face_descriptor(np.ascontiguousarray(rgb_HWC), shape)
        return np.array(embedding, np.float32)


def _weights() -> Path:
    """Path of the weights in the installed package, which is not imported: it needs the removed `pkg_resources`."""
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or package.origin is None:
        raise UserError(
            "identity needs dlib's weights, which are not installed: pip install face_recognition_models"
        )
    return Path(package.origin).parent / "models" / "dlib_face_recognition_resnet_model_v1.dat"
