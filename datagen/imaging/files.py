"""Pictures of the user: donor portraits and styles. One that is too large or damaged is refused alone."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from datagen.common.errors import Refusal, UserError
from datagen.common.text import shown

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAX_PIXELS = 64_000_000
"""Largest picture that is decoded, the same limit as for video frames: 192 MB as RGB."""
MAX_BYTES = 256 << 20
"""Largest file that is read; an uncompressed picture of `MAX_PIXELS` fits in it."""
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")


def image_files(folder: Path) -> list[Path]:
    """Pictures under a folder, sorted by relative path; broken links are included and fail when they are read.

    Raises:
        UserError: the folder does not exist or holds no picture.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give one with pictures", code=2)
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith("._")  # metadata files of macOS
        and (path.is_file() or (path.is_symlink() and not path.exists()))
    )
    if not files:
        raise UserError(f"{folder} holds no pictures ({', '.join(IMAGE_SUFFIXES)})", code=2)
    return files


def folder_licences(folder: Path) -> dict[str, str]:
    """Licences from `LICENCES.json` beside the pictures: file name -> text or `{"licence": text}`; empty without it.

    Raises:
        UserError: the file cannot be read or has another form.
    """
    path = folder / "LICENCES.json"
    if not path.is_file():
        return {}
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", code=2) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}", code=2) from error
    if not isinstance(stated, dict):
        raise UserError(f"{path} must map file names to licences", code=2)
    return {
        shown(name): shown(str(value.get("licence", "unstated")) if isinstance(value, dict) else str(value))
        for name, value in stated.items()
    }


def read_bytes(path: Path) -> bytes:
    """Content of a picture's file.

    Raises:
        Refusal: `unreadable` (missing, no permission) or `too_large`.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise Refusal("unreadable", f"the picture cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise Refusal(
            "too_large", f"the picture's file has more than {MAX_BYTES} bytes", "make it smaller",
            measure="bytes", value=float(path.stat().st_size), limit=float(MAX_BYTES),
        )  # fmt: skip
    return data


def image_sha256(path: Path) -> str:
    """Hex sha256 of a picture's file.

    Raises:
        Refusal: as `read_bytes`.
    """
    return hashlib.sha256(read_bytes(path)).hexdigest()


def read_image(path: Path) -> np.ndarray:
    """RGB uint8 (H, W, 3) of a picture's file.

    Raises:
        Refusal: as `read_bytes` and `decode_image`.
    """
    return decode_image(read_bytes(path))


def decode_image(data: bytes) -> np.ndarray:
    """RGB uint8 (H, W, 3) of an encoded picture; its size is checked in the header before it is decoded.

    Raises:
        Refusal: `unreadable` where the bytes are not a picture; `too_large` beyond `MAX_PIXELS`.
    """
    width, height = _size(data)
    if width * height > MAX_PIXELS:
        raise Refusal(
            "too_large",
            f"the picture has {width} x {height} pixels, more than {MAX_PIXELS // 10**6} megapixels",
            "make it smaller",
            measure="megapixels",
            value=width * height / 1e6,
            limit=MAX_PIXELS / 1e6,
        )
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise Refusal("unreadable", "the file is not a picture that can be read") from error
    if decoded is None:
        raise Refusal("unreadable", "the file is not a picture that can be read")
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def _size(data: bytes) -> tuple[int, int]:
    """Width and height from the header, without decoding pixels."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # `MAX_PIXELS` is checked instead: its message has the numbers
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                return image.size
    except Exception as error:  # Pillow's parsers raise errors of many types on damaged headers
        raise Refusal("unreadable", "the file is not a picture that can be read") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit
