"""Fetches a registered weight into the cache: from the hub, a release page, a mirror, or a folder.

A weight appears in the cache only when it is complete: its files are collected and hashed in `CACHE/.partial/NAME`,
which is then renamed.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import zipfile
import zlib
from pathlib import Path

from filelock import FileLock

from datagen.common.errors import UserError
from datagen.common.extras import needs_extra
from datagen.common.hashing import file_sha256
from datagen.common.staging import sync, sync_tree
from datagen.weights.cache import (
    FileRecord,
    Receipt,
    cache_folder,
    git_blob_sha1_of,
    is_complete,
    local_path,
    read_receipt,
    write_receipt,
)
from datagen.weights.registry import Weight, WeightFile, weight

logger = logging.getLogger(__name__)

_SHA256 = re.compile("[0-9a-f]{64}")
_GIT_SHA1 = re.compile("[0-9a-f]{40}")
_MAX_EXPANSION = 20  # largest unpacked size, in multiples of the archive's: weights hardly compress


def fetch(
    name: str,
    *,
    cache: Path | None = None,
    endpoint: str | None = None,
    source: str | None = None,
    allow_noncommercial: bool = False,
    force: bool = False,
) -> Path:
    """Fetch one weight, unless it is in the cache already.

    Args:
        name: registry name.
        cache: folder of fetched weights, see `cache_folder`.
        endpoint: address of a hub mirror, in place of `HF_ENDPOINT`.
        source: a folder to copy from, or the http(s) address of a server that offers `NAME/PATH`; the hub is then
            not used.
        allow_noncommercial: accept a licence that forbids commercial use or does not settle it.
        force: fetch again, and accept a file that differs from what was first fetched.

    Returns:
        What `local_path` returns.

    Raises:
        UserError: terms not accepted, not found, cut short, wrong hash, disk full, no connection.
    """
    entry = weight(name)
    check_terms(entry, allow_noncommercial)
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise UserError(f"--endpoint {endpoint!r}: give an http(s) address", code=2)
    root = cache_folder(cache)
    if not force and is_complete(entry, root / name):
        return local_path(name, cache)  # also works in a read-only cache
    try:
        (root / ".partial").mkdir(parents=True, exist_ok=True)
        # Another process that fetches the same weight waits here, and then finds it in the cache.
        with FileLock(root / ".partial" / f"{name}.lock"):
            if force or not is_complete(entry, root / name):
                _fetch_all(entry, root, endpoint, source, force)
    except OSError as error:
        raise UserError(
            f"cannot write to the cache {root}: {error.strerror or error}; give another --cache"
        ) from error
    return local_path(name, cache)


def check_terms(entry: Weight, allow_noncommercial: bool) -> None:
    """Refuse a weight that is not free for commercial use unless the user accepted that.

    Raises:
        UserError: naming the licence and the flag.
    """
    if entry.commercial == "yes" or allow_noncommercial:
        return
    says = "forbids commercial use" if entry.commercial == "no" else "does not settle commercial use"
    raise UserError(
        f"{entry.name}: its licence ({entry.licence}) {says}; to accept that, add --allow-noncommercial"
    )


def _fetch_all(entry: Weight, root: Path, endpoint: str | None, source: str | None, force: bool) -> None:
    staging, target = root / ".partial" / entry.name, root / entry.name
    before = None if force or not target.exists() else read_receipt(target)
    base = None if source is None or _is_url(source) else _folder_holding(entry, Path(source).expanduser())
    records: list[FileRecord] = []
    for file in entry.files:
        path = staging / file.path
        if base is not None:
            _copy(base[file.path], path)
            stated = None
        else:
            stated = _download(entry, file, path, endpoint, source)
        records.append(_checked(entry, file, path, stated, before))
        if file.unpack_to:
            records += [_record(staging, member) for member in _unpack(path, staging / file.unpack_to)]
    where = entry.source if source is None else source
    logger.info("fetched %s from %s: %d files", entry.name, where, len(records))
    write_receipt(staging, Receipt(entry.name, where, entry.revision, entry.licence, tuple(records)))
    _publish(staging, target)


def _download(
    entry: Weight, file: WeightFile, path: Path, endpoint: str | None, mirror: str | None
) -> str | None:
    """Download one file unless an earlier call did; returns the hash that the hub states for it, if any."""
    with needs_extra("train", "downloading weights"):
        from datagen.weights import download

    if path.is_file() and file.sha256 is not None:
        return None  # complete from an interrupted call; `_checked` hashes it again
    if mirror is not None:
        remote = download.at_url(f"{mirror.rstrip('/')}/{entry.name}/{file.path}")
    elif file.url:
        remote = download.at_url(file.url)
    else:
        remote = download.on_hub(entry.repo, file.path, entry.revision, endpoint)
    if not path.is_file() or path.stat().st_size != remote.size:
        download.download(remote, path, expected_size=file.size)
    return None if mirror is not None or file.url else remote.etag


def _checked(
    entry: Weight, file: WeightFile, path: Path, stated: str | None, before: Receipt | None
) -> FileRecord:
    """Compare a file with the registry, the hub's hash and the first fetch; a wrong file is removed.

    Raises:
        UserError: size or hash differ.
    """
    size, sha256 = path.stat().st_size, file_sha256(path)
    fault = ""
    if file.size is not None and size != file.size:
        fault = f"has {size} bytes, expected {file.size}"
    elif file.sha256 is not None and sha256 != file.sha256:
        fault = f"has sha256 {sha256}, the registry says {file.sha256}"
    elif stated and _SHA256.fullmatch(stated) and sha256 != stated:
        fault = f"has sha256 {sha256}, the hub says {stated}"
    elif stated and _GIT_SHA1.fullmatch(stated) and git_blob_sha1_of(path) != stated:
        fault = f"differs from what the hub says (git hash {stated})"
    if fault:
        path.unlink()
        raise UserError(
            f"{entry.name}: {file.path} {fault}; the file was deleted: the source or the transfer is faulty"
        )
    first = before.sha256_of(file.path) if before and before.revision == entry.revision else None
    if first not in (None, sha256):
        path.unlink()
        raise UserError(
            f"{entry.name}: {file.path} has sha256 {sha256}, but {first} when it was first fetched; "
            "add --force to accept the new one"
        )
    return FileRecord(file.path, size, sha256, pinned=file.sha256 is not None)


def _folder_holding(entry: Weight, root: Path) -> dict[str, Path]:
    """Path of each file of a weight in a local folder: our cache, the hub's cache, a clone, or single files.

    Raises:
        UserError: the folder holds them in none of these layouts.
    """
    if not root.exists():
        raise UserError(f"--from {root}: there is no such folder", code=2)
    single = len(entry.files) == 1
    if root.is_file() and single:
        return {entry.files[0].path: root}
    snapshots = root / f"models--{entry.repo.replace('/', '--')}" / "snapshots"
    bases = [
        root / entry.name,
        root / entry.repo,
        snapshots / entry.revision,
        *sorted(snapshots.glob("*")),
        root,
    ]
    for base in bases:
        if all((base / file.path).is_file() for file in entry.files):
            return {file.path: base / file.path for file in entry.files}
    bare = root / Path(entry.files[0].path).name
    if single and bare.is_file():
        return {entry.files[0].path: bare}
    wanted = ", ".join(file.path for file in entry.files)
    raise UserError(
        f"--from {root}: {entry.name} was not found there; put {wanted} below {root / entry.name}"
    )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.copy.part")
    try:
        shutil.copyfile(source, part)
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise UserError(f"disk full while copying {source} to {target}; give another --cache") from error
        raise UserError(f"cannot copy {source} to {target}: {error.strerror}") from error
    os.replace(part, target)


def _unpack(archive: Path, folder: Path) -> list[Path]:
    """Unpack the `.onnx` members of a zip into one folder by their bare names; paths inside the zip are ignored.

    Raises:
        UserError: not a zip, no `.onnx` inside, or more than the disk can hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    try:
        with zipfile.ZipFile(archive) as bundle:
            members = [item for item in bundle.infolist() if _is_network(item)]
            size = sum(item.file_size for item in members)  # `zipfile` reads no more than the stated sizes
            if size > _MAX_EXPANSION * archive.stat().st_size:
                raise UserError(
                    f"{archive.name} unpacks to {size} bytes, more than any pack of networks needs"
                )
            if size > shutil.disk_usage(folder).free:
                raise UserError(f"{archive.name} unpacks to {size} bytes: free space or give another --cache")
            for member in members:
                path = folder / Path(member.filename).name
                with bundle.open(member) as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target)
                made.append(path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{archive.name} is not a complete zip file ({error})") from error
    if not made:
        raise UserError(f"{archive.name} holds no .onnx file")
    return made


def _is_network(member: zipfile.ZipInfo) -> bool:
    return not member.is_dir() and Path(member.filename).name.endswith(".onnx")


def _record(staging: Path, path: Path) -> FileRecord:
    return FileRecord(
        path.relative_to(staging).as_posix(), path.stat().st_size, file_sha256(path), pinned=False
    )


def _publish(staging: Path, target: Path) -> None:
    """Rename the complete folder to its final name; an older one is moved away first and then removed."""
    for stale in staging.rglob("*.part"):
        stale.unlink()
    sync_tree(staging)
    aside = staging.with_name(f"{staging.name}.old")
    if target.exists():
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(target, aside)
    os.replace(staging, target)
    sync(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))
