"""Downloads one file over HTTP. Another process can resume a download; every failure is a message of one line.

`huggingface_hub` does the transport: sessions, tokens, proxies, metadata of the hub. Only the loop that writes is our
own, because `hf_hub_download` deletes a partial file when it fails, and so cannot resume.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status
from tqdm.auto import tqdm

from datagen.common.errors import UserError

logger = logging.getLogger(__name__)

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_MAX_FAILURES = 3  # requests in a row that brought no byte


@dataclass(frozen=True)
class Remote:
    """A file on a server.

    Attributes:
        url: address of the content.
        size: size in bytes; None if the server does not state it.
        etag: the server's; the hub's is the sha256 of large files and the git hash of small ones.
        headers: headers of every request.
    """

    url: str
    size: int | None
    etag: str | None
    headers: dict[str, str]


def on_hub(repo: str, path: str, revision: str, endpoint: str | None) -> Remote:
    """Ask a hub (huggingface.co, `HF_ENDPOINT`, or the endpoint given) for a file.

    Raises:
        UserError: the file does not exist, or there is no access or no connection.
    """
    return _ask(hf_hub_url(repo, path, revision=revision, endpoint=endpoint), token=None)


def at_url(url: str) -> Remote:
    """Ask any web server for a file; no hub token is sent.

    Raises:
        UserError: the file does not exist, or there is no access or no connection.
    """
    return _ask(url, token=False)


def download(remote: Remote, target: Path, *, expected_size: int | None = None) -> None:
    """Fetch a file to `target`; continues where an earlier call, even of another process, was cut off.

    Args:
        remote: the file to fetch.
        target: created, with its folders, only when complete; `target.<tag>.part` until then.
        expected_size: bytes, when known independently of the server.

    Raises:
        UserError: one line that says what happened and, where it is so, that another call resumes.
    """
    size = remote.size if expected_size is None else expected_size
    if remote.size is not None and size != remote.size:
        raise UserError(
            f"{remote.url} has {remote.size} bytes, expected {size}: another version or a broken mirror"
        )
    if size is not None and size <= 0:
        raise UserError(f"{remote.url} is said to have {size} bytes: the mirror is broken; try another")
    tag = hashlib.sha256((remote.etag or remote.url).encode()).hexdigest()[
        :8
    ]  # two versions are never joined
    part = target.with_name(f"{target.name}.{tag}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if size is not None and _length(part) > size:
            part.unlink()
        _transfer(remote, part, size)
        os.replace(part, target)
    except _WrongContentError as error:
        part.unlink(missing_ok=True)
        raise UserError(f"{remote.url}: {error}; nothing of it was kept") from error
    except (OSError, httpx2.HTTPError) as error:
        raise explain(error, remote.url, part) from error


def explain(error: Exception, url: str, path: Path) -> UserError:
    """The one-line error for a failure of transport or disk."""
    have = _length(path)
    resume = f"; {have} bytes are kept, the same command resumes" if have else ""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status == 404:
            return UserError(f"{url} was not found (404)")
        if status in (401, 403):
            return UserError(f"{url} needs access ({status}): accept its terms on the hub and set HF_TOKEN")
        return UserError(f"{url}: the server answered {status}{resume}")
    if isinstance(error, OfflineModeIsEnabled):
        return UserError(f"{url}: HF_HUB_OFFLINE is set; unset it or give --from FOLDER")
    if isinstance(error, httpx2.HTTPError):
        return UserError(f"{url}: {str(error) or type(error).__name__}{resume}")
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return UserError(f"disk full while writing {path}: free space or give another --cache{resume}")
    if isinstance(error, OSError) and error.errno is not None:
        return UserError(f"cannot write {path}: {error.strerror}")
    return UserError(f"{url}: {str(error) or type(error).__name__}{resume}")


def _ask(url: str, token: bool | None) -> Remote:
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise UserError(f"{url!r} is not an http(s) address", code=2)
    try:
        found = get_hf_file_metadata(url, token=token)
    except (OSError, httpx2.HTTPError) as error:
        raise explain(error, url, Path()) from error
    headers = build_hf_headers(token=token)
    if urlsplit(found.location).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)  # a redirect to a file store carries its own signature
    return Remote(found.location, found.size, found.etag, headers)


class _WrongContentError(Exception):
    """What the server sends is not the file; the message says why."""


def _transfer(remote: Remote, part: Path, size: int | None) -> None:
    """Append what is missing; a request is repeated after a dropped connection, as long as requests bring bytes.

    Args:
        remote: the file to fetch.
        part: the file to write.
        size: bytes of the whole file; None where only the server's response says it.

    Raises:
        UserError: the server sent fewer than `size` bytes.
        _WrongContentError: it sends more bytes, or compresses them.
        httpx2.TransportError: several requests in a row brought no byte.
    """
    failures = 0
    while size is None or _length(part) < size:
        have = _length(part)
        try:
            size = _append(remote, part, have, size)
            break
        except httpx2.TransportError:
            failures = 0 if _length(part) > have else failures + 1
            if failures == _MAX_FAILURES:
                raise
            logger.info("%s: connection lost at %d bytes; trying again", part.name, _length(part))
            time.sleep(failures)
    if _length(part) != size:
        raise UserError(
            f"{remote.url}: the download was cut short at {_length(part)} of {size} bytes; the same command resumes"
        )


def _append(remote: Remote, part: Path, have: int, size: int | None) -> int:
    """One request for the bytes after the first `have`, or for all if the server does not support ranges.

    Returns:
        Bytes of the whole file.
    """
    headers = remote.headers | {"accept-encoding": "identity"}
    if have:
        headers["range"] = f"bytes={have}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with (
        part.open("ab") as file,
        get_session().stream("GET", remote.url, headers=headers, timeout=timeout) as answer,
    ):
        if answer.status_code == httpx2.codes.RANGE_NOT_SATISFIABLE:
            file.truncate(0)
            raise httpx2.RemoteProtocolError("the server has fewer bytes than before")
        hf_raise_for_status(answer)
        if have and not _continues(answer, have):
            file.truncate(0)
            have = 0
        size = _whole_size(answer, have, size)
        _check_space(part, size - have)
        with tqdm(
            desc=part.name.split(".")[0], initial=have, total=size, unit="B", unit_scale=True, disable=None
        ) as bar:
            for chunk in answer.iter_raw():  # as sent, never decompressed
                have += len(chunk)
                if have > size:
                    raise _WrongContentError(f"the server sends more than the file's {size} bytes")
                file.write(chunk)
                bar.update(len(chunk))
    return size


def _continues(answer: httpx2.Response, have: int) -> bool:
    """Whether the response begins after the first `have` bytes, as requested."""
    if answer.status_code != httpx2.codes.PARTIAL_CONTENT:
        return False
    if not answer.headers.get("content-range", "").startswith(f"bytes {have}-"):
        raise _WrongContentError("the server sends another range than was asked for")
    return True


def _whole_size(answer: httpx2.Response, have: int, size: int | None) -> int:
    """Bytes of the whole file, from what is known and from the headers of the response.

    Raises:
        _WrongContentError: the response is compressed, has too many bytes, or the number of bytes is unknown.
    """
    encoding = answer.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise _WrongContentError(f"the server compresses the file ({encoding}), though it was asked not to")
    length = answer.headers.get("content-length", "")
    stated = have + int(length) if length.isdecimal() else None
    if size is None and stated is None:
        raise _WrongContentError("neither the server nor the registry says how many bytes the file has")
    if size is None:
        size = stated
    elif stated is not None and stated > size:
        raise _WrongContentError(f"the server sends {stated} bytes, the file has {size}")
    assert size is not None
    return size


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _check_space(part: Path, missing: int) -> None:
    if missing > shutil.disk_usage(part.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
