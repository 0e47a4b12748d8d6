"""Downloads of single files: network errors, hostile servers, full disk."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from datagen.common.errors import UserError
from datagen.weights import download
from datagen.weights.fetch import fetch
from datagen.weights.registry import WeightFile
from tests.weights.made import BODY, entry


def test_a_dropped_connection_is_retried_within_one_call(hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry())
    where = hub.add("org/thing", "sub/model.bin", BODY)
    hub.cut[where] = 7
    assert fetch("thing", cache=tmp_path, endpoint=hub.url).read_bytes() == BODY
    assert hub.ranges(where) == ["", "bytes=7-"]


def test_a_server_without_ranges_starts_over(hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry())
    where = hub.add("org/thing", "sub/model.bin", BODY)
    hub.cut[where], hub.ranges_known = 1000, False
    assert fetch("thing", cache=tmp_path, endpoint=hub.url).read_bytes() == BODY
    assert hub.ranges(where) == ["", "bytes=1000-"]


def test_killed_download_resumes(hub: Any, register: Any, tmp_path: Path) -> None:
    """A process killed in the middle of a file leaves its bytes for the next try."""
    register(entry())
    where = hub.add("org/thing", "sub/model.bin", BODY)
    hub.stall[where] = 200_000
    script = (
        "import sys; from pathlib import Path; from datagen.weights import download\n"
        "remote = download.on_hub('org/thing', 'sub/model.bin', 'main', sys.argv[1])\n"
        "download.download(remote, Path(sys.argv[2]))"
    )
    staged = tmp_path / ".partial" / "thing" / "sub" / "model.bin"
    child = subprocess.Popen([sys.executable, "-c", script, hub.url, str(staged)])
    deadline = time.monotonic() + 60
    while sum(part.stat().st_size for part in tmp_path.rglob("*.part")) < 100_000:
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    (part,) = tmp_path.rglob("*.part")
    kept = part.stat().st_size
    hub.stall.clear()
    assert fetch("thing", cache=tmp_path, endpoint=hub.url).read_bytes() == BODY
    assert hub.ranges(where)[-1] == f"bytes={kept}-"


def test_truncated_file_is_not_published(hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry(files=(WeightFile("sub/model.bin"),)))
    where = hub.add("org/thing", "sub/model.bin", BODY[:-50])
    hub.stated[where] = len(BODY)
    with pytest.raises(UserError, match=f"cut short at {len(BODY) - 50} of {len(BODY)} bytes"):
        fetch("thing", cache=tmp_path, endpoint=hub.url)
    assert not (tmp_path / "thing").exists()


def test_another_size_than_registered_is_refused_before_the_download(
    hub: Any, register: Any, tmp_path: Path
) -> None:
    register(entry())
    where = hub.add("org/thing", "sub/model.bin", BODY + b"more")
    with pytest.raises(UserError, match=f"has {len(BODY) + 4} bytes, expected {len(BODY)}"):
        fetch("thing", cache=tmp_path, endpoint=hub.url)
    assert hub.ranges(where) == []


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "endless": ({}, f"sends more than the file's {len(BODY)} bytes; nothing of it was kept"),
    "packed": ({"Content-Encoding": "gzip"}, "compresses the file"),
    "longer": ({"Content-Length": str(10**9)}, f"sends {10**9} bytes, the file has {len(BODY)}"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("size", [len(BODY), None])
def test_a_mirror_never_fills_the_disk(
    fault: str, size: int | None, hub: Any, register: Any, tmp_path: Path
) -> None:
    """Whether the size is known from the registry or only from the server."""
    register(entry(files=(WeightFile("sub/model.bin", size),)))
    where = hub.add("org/thing", "sub/model.bin", BODY)
    hub.sent[where], message = FAULTS[fault]
    if fault == "endless":
        hub.endless.add(where)
    with pytest.raises(UserError, match=message):
        fetch("thing", cache=tmp_path, endpoint=hub.url)
    assert not list(tmp_path.rglob("model.bin*"))


def test_an_unknown_size_is_taken_from_the_response(hub: Any, register: Any, tmp_path: Path) -> None:
    where = hub.add("org/thing", "sub/model.bin", BODY)
    remote = download.Remote(hub.url + where, None, None, {})
    download.download(remote, tmp_path / "model.bin")
    assert (tmp_path / "model.bin").read_bytes() == BODY
    hub.endless.add(where)
    with pytest.raises(UserError, match="neither the server nor the registry says how many bytes"):
        download.download(remote, tmp_path / "again.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


@pytest.mark.parametrize("pinned", [True, False])
def test_an_empty_file_is_one_error_line(pinned: bool, hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry(files=(WeightFile("sub/model.bin", len(BODY) if pinned else None),)))
    hub.add("org/thing", "sub/model.bin", b"")
    with pytest.raises(UserError, match="has 0 bytes, expected" if pinned else "said to have 0 bytes"):
        fetch("thing", cache=tmp_path, endpoint=hub.url)


def test_a_wrong_byte_range_is_not_appended(hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry())
    where = hub.add("org/thing", "sub/model.bin", BODY)
    hub.cut[where] = 1000
    hub.sent[where] = {"Content-Range": f"bytes 0-{len(BODY) - 1}/{len(BODY)}"}
    with pytest.raises(UserError, match="another range than was asked for; nothing of it was kept"):
        fetch("thing", cache=tmp_path, endpoint=hub.url)


def test_a_full_disk_is_one_error_line_and_the_download_resumes(
    hub: Any, register: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RLIMIT_FSIZE makes writes fail as on a full disk."""
    register(entry())
    where = hub.add("org/thing", "sub/model.bin", BODY)
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from datagen.common.errors import UserError; from datagen.weights import download\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "remote = download.on_hub('org/thing', 'sub/model.bin', 'main', sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try: download.download(remote, Path(sys.argv[2]))\n"
        "except UserError as error: print(error)"
    )
    staged = tmp_path / ".partial" / "thing" / "sub" / "model.bin"
    found = subprocess.run(
        [sys.executable, "-c", script, hub.url, str(staged)], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("disk full while writing") and found.stdout.count("\n") == 1
    (part,) = tmp_path.rglob("*.part")
    kept = part.stat().st_size
    assert 0 < kept <= 300_000
    fetch("thing", cache=tmp_path, endpoint=hub.url)
    assert hub.ranges(where)[-1] == f"bytes={kept}-"
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(UserError, match="disk full"):
        fetch("thing", cache=tmp_path / "other", endpoint=hub.url)
