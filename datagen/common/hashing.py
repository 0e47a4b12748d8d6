"""The hashes of the project: sha256 as hex digits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes; the file is read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def pixels_sha256(image_HWC: np.ndarray) -> str:
    """sha256 of the pixels of a picture that has no file of its own, such as a bundled portrait."""
    return hashlib.sha256(image_HWC.tobytes()).hexdigest()
