"""The hashes of the project: sha256, in hex digits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np


def file_sha256(path: Path) -> str:
    """Of a file's bytes, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def pixels_sha256(image_HWC: np.ndarray) -> str:
    """Of the pixels of a picture that has no file, such as a bundled portrait."""
    return hashlib.sha256(image_HWC.tobytes()).hexdigest()
