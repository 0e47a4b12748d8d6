"""ONNX networks: name and licence, check of the file's hash, and sessions to run them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime

from datagen.common.errors import UserError
from datagen.common.hashing import file_sha256


@dataclass(frozen=True)
class ModelInfo:
    """A network that produced a result, as recorded in every index row."""

    name: str
    version: str
    sha256: str
    licence: str


@cache
def checked(path: Path, sha256: str) -> Path:
    """`path`, after a check of its content's hash; each file is checked once per process.

    Raises:
        UserError: the file is missing or differs.
    """
    try:
        found = file_sha256(path)
    except OSError as error:
        raise UserError(
            f"model file {path} cannot be read ({error.strerror}); install the package again"
        ) from error
    if found != sha256:
        raise UserError(
            f"model file {path} has sha256 {found[:16]}..., expected {sha256[:16]}...; install the package again"
        )
    return path


def open_session(model: Path | bytes) -> onnxruntime.InferenceSession:
    """An onnxruntime session with reproducible outputs: one thread, deterministic kernels; on CUDA where available.

    Args:
        model: file, or the serialised network.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3  # errors only: users cannot act on warnings about CUDA memory copies
    cuda = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"})
    offered = cuda[0] in onnxruntime.get_available_providers()
    if offered:
        onnxruntime.preload_dlls()  # finds CUDA and cuDNN in the wheels that torch installs
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model),
        options,
        providers=[*([cuda] if offered else []), "CPUExecutionProvider"],
    )


def run(session: onnxruntime.InferenceSession, image_HWC: np.ndarray) -> list[np.ndarray]:
    """Outputs for one float32 image (H, W, C), without the batch dimension."""
    return [output[0] for output in session.run(None, {session.get_inputs()[0].name: image_HWC[None]})]
