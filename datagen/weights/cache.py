"""The folder of fetched weights: `CACHE/NAME/...` with a receipt of the files and their hashes.

A folder `CACHE/NAME` is complete or absent: files are gathered in `CACHE/.partial/NAME` and renamed at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from datagen.common.errors import UserError
from datagen.common.hashing import file_sha256
from datagen.weights.registry import Weight, weight

CACHE_VARIABLE = "MEGACTOR_DATAGEN_CACHE"
RECEIPT = "receipt.json"


@dataclass(frozen=True)
class FileRecord:
    """A fetched file; its hash is fixed by the registry (`pinned`), or was recorded at the first fetch."""

    path: str
    size: int
    sha256: str
    pinned: bool


@dataclass(frozen=True)
class Receipt:
    """What a weight's folder holds and where it came from."""

    name: str
    source: str
    revision: str
    licence: str
    files: tuple[FileRecord, ...]

    def sha256_of(self, path: str) -> str | None:
        """Hash of a file as fetched, None when the receipt does not know the file."""
        return next((record.sha256 for record in self.files if record.path == path), None)


def cache_folder(cache: Path | None = None) -> Path:
    """The given folder, else the one of the environment variable, else `~/.cache/megactor-datagen/weights`."""
    if cache is not None:
        return cache.expanduser()
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else Path("~/.cache/megactor-datagen/weights").expanduser()


def local_path(name: str, cache: Path | None = None) -> Path:
    """Path of a fetched weight: its file when it has one only, else its folder (also for zipped packs).

    Raises:
        UserError: unknown name, or not fetched yet; the message says which command fetches it.
    """
    entry = weight(name)
    folder = cache_folder(cache) / name
    receipt = read_receipt(folder)
    if receipt is None or any(not (folder / record.path).is_file() for record in receipt.files):
        flags = "" if entry.commercial == "yes" else " --allow-noncommercial"
        place = "" if cache is None else f" --cache {cache}"
        raise UserError(
            f"{entry.title} is not in {cache_folder(cache)}; run: megactor-datagen weights fetch {name}{flags}{place}"
        )
    single = len(entry.files) == 1 and not entry.files[0].unpack_to
    return folder / entry.files[0].path if single else folder


def verify(name: str, cache: Path | None = None) -> Iterator[tuple[FileRecord, str]]:
    """Hash every file of a fetched weight again: (record, fault), where the fault is empty for a correct file.

    Raises:
        UserError: unknown name or not fetched.
    """
    entry = weight(name)
    folder = cache_folder(cache) / name
    receipt = read_receipt(folder)
    if receipt is None:
        local_path(name, cache)  # raises, with the command that fetches it
        return
    pins = {file.path: file.sha256 for file in entry.files if file.sha256}
    for record in receipt.files:
        path = folder / record.path
        if not path.is_file():
            yield record, "missing"
        elif path.stat().st_size != record.size:
            yield record, f"{path.stat().st_size} bytes, expected {record.size}"
        else:
            expected, found = pins.get(record.path, record.sha256), file_sha256(path)
            yield record, "" if found == expected else f"sha256 {found}, expected {expected}"


def read_receipt(folder: Path) -> Receipt | None:
    """Receipt of a weight's folder, None where the weight was not fetched completely.

    Raises:
        UserError: the receipt exists but cannot be read.
    """
    path = folder / RECEIPT
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        files = tuple(FileRecord(**record) for record in data.pop("files"))
        return Receipt(**data, files=files)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}); remove {folder} and fetch again"
        ) from error


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Write the receipt, which marks a folder as a fetched weight."""
    (folder / RECEIPT).write_text(json.dumps(asdict(receipt), indent=1) + "\n", encoding="utf-8")


def is_complete(entry: Weight, folder: Path) -> bool:
    """Whether the folder holds all files of this revision, by receipt, presence and size (not by hash)."""
    receipt = read_receipt(folder)
    if receipt is None or receipt.revision != entry.revision:
        return False
    if {file.path for file in entry.files} - {record.path for record in receipt.files}:
        return False
    paths = [(folder / record.path, record.size) for record in receipt.files]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def git_blob_sha1_of(path: Path) -> str:
    """Git's blob hash of a file's content in hex; the hub uses it as ETag of small files."""
    digest = hashlib.sha1(b"blob %d\x00" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
