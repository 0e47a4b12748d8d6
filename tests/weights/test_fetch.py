"""Fetching against a loopback hub: good days, bad networks, full disks, terms."""

from __future__ import annotations

import errno
import hashlib
import io
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from datagen.common.errors import UserError
from datagen.weights import download, registry
from datagen.weights.cache import local_path, read_receipt, verify
from datagen.weights.fetch import fetch
from datagen.weights.registry import Weight, WeightFile
from trainer.commands.weights import app

BODY = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(BODY).hexdigest()


def entry(name: str = "thing", **changes: Any) -> Weight:
    values: dict[str, Any] = {
        "name": name,
        "title": "a thing",
        "used_by": "tests",
        "licence": "MIT",
        "commercial": "yes",
        "repo": "org/thing",
        "files": (WeightFile("sub/model.bin", len(BODY), DIGEST),),
    }
    return Weight(**(values | changes))


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(*entries: Weight) -> None:
        monkeypatch.setattr(registry, "WEIGHTS", entries)

    return put


def test_fetch_publishes_once_and_verifies(hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry())
    where = hub.add("org/thing", "sub/model.bin", BODY)
    path = fetch("thing", cache=tmp_path, endpoint=hub.url)
    assert path.read_bytes() == BODY
    assert path == local_path("thing", tmp_path)
    assert [(record.pinned, fault) for record, fault in verify("thing", tmp_path)] == [(True, "")]
    fetch("thing", cache=tmp_path, endpoint=hub.url)
    assert len(hub.ranges(where)) == 1


def test_interrupted_download_resumes_where_it_stopped(hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry())
    where = hub.add("org/thing", "sub/model.bin", BODY)
    hub.cut[where] = 100_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            download.time, "sleep", lambda _: hub.broken.add(where)
        )  # the line drops, the server goes down
        with pytest.raises(UserError, match=r"503; 100000 bytes are kept, the same command resumes"):
            fetch("thing", cache=tmp_path, endpoint=hub.url)
    assert not (tmp_path / "thing").exists()
    hub.broken.clear()
    assert fetch("thing", cache=tmp_path, endpoint=hub.url).read_bytes() == BODY
    assert hub.ranges(where)[-1] == "bytes=100000-"


def test_a_dropped_line_is_tried_again_within_one_call(hub: Any, register: Any, tmp_path: Path) -> None:
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


def test_several_who_want_the_same_download_it_once(hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry())
    where = hub.add("org/thing", "sub/model.bin", BODY)
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch("thing", cache=tmp_path, endpoint=hub.url), range(4)))
    assert {path.read_bytes() for path in paths} == {BODY} and len(hub.ranges(where)) == 1


def test_killed_download_resumes(hub: Any, register: Any, tmp_path: Path) -> None:
    """A process killed in the middle of a file leaves its bytes for the next one."""
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
    "packed": ({"Content-Encoding": "gzip"}, "packs the file"),
    "longer": ({"Content-Length": str(10**9)}, f"sends {10**9} bytes, the file has {len(BODY)}"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("size", [len(BODY), None])
def test_a_mirror_never_fills_the_disk(
    fault: str, size: int | None, hub: Any, register: Any, tmp_path: Path
) -> None:
    """Whether the registry or only the server says how large the file is."""
    register(entry(files=(WeightFile("sub/model.bin", size),)))
    where = hub.add("org/thing", "sub/model.bin", BODY)
    hub.sent[where], message = FAULTS[fault]
    if fault == "endless":
        hub.endless.add(where)
    with pytest.raises(UserError, match=message):
        fetch("thing", cache=tmp_path, endpoint=hub.url)
    assert not list(tmp_path.rglob("model.bin*"))


def test_a_file_of_no_known_size_takes_that_of_the_answer(hub: Any, register: Any, tmp_path: Path) -> None:
    where = hub.add("org/thing", "sub/model.bin", BODY)
    remote = download.Remote(hub.url + where, None, None, {})
    download.download(remote, tmp_path / "model.bin")
    assert (tmp_path / "model.bin").read_bytes() == BODY
    hub.endless.add(where)
    with pytest.raises(UserError, match="neither the server nor the registry says how many bytes"):
        download.download(remote, tmp_path / "again.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


@pytest.mark.parametrize("pinned", [True, False])
def test_an_empty_file_is_one_line(pinned: bool, hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry(files=(WeightFile("sub/model.bin", len(BODY) if pinned else None),)))
    hub.add("org/thing", "sub/model.bin", b"")
    with pytest.raises(UserError, match="has 0 bytes, expected" if pinned else "said to have 0 bytes"):
        fetch("thing", cache=tmp_path, endpoint=hub.url)


def test_another_range_than_asked_for_is_not_spliced(hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry())
    where = hub.add("org/thing", "sub/model.bin", BODY)
    hub.cut[where] = 1000
    hub.sent[where] = {"Content-Range": f"bytes 0-{len(BODY) - 1}/{len(BODY)}"}
    with pytest.raises(UserError, match="another range than was asked for; nothing of it was kept"):
        fetch("thing", cache=tmp_path, endpoint=hub.url)


@pytest.mark.parametrize("pinned", [True, False])
def test_wrong_hash_is_dropped(pinned: bool, hub: Any, register: Any, tmp_path: Path) -> None:
    """Against the registry's sha256 or, without one, against what the hub states."""
    register(entry(files=(WeightFile("sub/model.bin", sha256=DIGEST if pinned else None),)))
    where = hub.add("org/thing", "sub/model.bin", b"x" + BODY[1:])
    hub.etags[where] = DIGEST
    with pytest.raises(UserError, match=f"has sha256 .*says {DIGEST}; it was dropped"):
        fetch("thing", cache=tmp_path, endpoint=hub.url)
    assert not list(tmp_path.rglob("model.bin*"))
    hub.files[where] = BODY
    assert fetch("thing", cache=tmp_path, endpoint=hub.url).read_bytes() == BODY


def test_small_files_are_checked_by_their_git_hash(hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry(files=(WeightFile("config.json"),)))
    where = hub.add("org/thing", "config.json", b"{}\n")
    hub.etags[where] = "0" * 40
    with pytest.raises(UserError, match="differs from what the hub says"):
        fetch("thing", cache=tmp_path, endpoint=hub.url)
    hub.etags[where] = "0967ef424bce6791893e9a57bb952f80fd536e93"  # git hash-object of that file
    fetch("thing", cache=tmp_path, endpoint=hub.url)


def test_hash_of_the_first_fetch_is_trusted_ever_after(hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry(files=(WeightFile("model.bin"),)))
    where = hub.add("org/thing", "model.bin", b"first")
    path = fetch("thing", cache=tmp_path, endpoint=hub.url)
    receipt = read_receipt(tmp_path / "thing")
    assert receipt is not None and not receipt.files[0].pinned
    path.write_bytes(b"spoil")
    assert [fault.startswith("sha256") for _, fault in verify("thing", tmp_path)] == [True]
    path.unlink()
    hub.files[where] = b"second"
    with pytest.raises(UserError, match="when it was first fetched; add --force"):
        fetch("thing", cache=tmp_path, endpoint=hub.url)
    assert fetch("thing", cache=tmp_path, endpoint=hub.url, force=True).read_bytes() == b"second"


def test_absent_file_and_dead_server_are_one_line(hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry())
    with pytest.raises(UserError, match=r"model.bin was not found \(404\)"):
        fetch("thing", cache=tmp_path, endpoint=hub.url)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9/"):
        fetch("thing", cache=tmp_path, endpoint="http://127.0.0.1:9")
    with pytest.raises(UserError, match="give an http"):
        fetch("thing", cache=tmp_path, endpoint="ftp://x")


def test_full_disk_is_one_line_and_resumes(
    hub: Any, register: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RLIMIT_FSIZE makes the kernel refuse to write on, as a full disk does."""
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


def test_noncommercial_is_refused_unless_allowed(hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry(commercial="no", licence="research only"), entry("vague", commercial="unclear"))
    hub.add("org/thing", "sub/model.bin", BODY)
    with pytest.raises(UserError, match=r"research only.*forbids.*--allow-noncommercial"):
        fetch("thing", cache=tmp_path, endpoint=hub.url)
    with pytest.raises(UserError, match="does not settle"):
        fetch("vague", cache=tmp_path, endpoint=hub.url)
    assert hub.asked == []
    fetch("thing", cache=tmp_path, endpoint=hub.url, allow_noncommercial=True)


@pytest.mark.parametrize(
    "layout", ["thing/sub", "org/thing/sub", "sub", "models--org--thing/snapshots/abc/sub", "."]
)
def test_from_a_folder_of_any_usual_layout(layout: str, register: Any, tmp_path: Path) -> None:
    register(entry())
    source = tmp_path / "usb"
    (source / layout).mkdir(parents=True)
    (source / layout / "model.bin").write_bytes(BODY)
    assert fetch("thing", cache=tmp_path / "cache", source=str(source)).read_bytes() == BODY


def test_from_a_folder_checks_too(register: Any, tmp_path: Path) -> None:
    register(entry())
    with pytest.raises(UserError, match="no such folder"):
        fetch("thing", cache=tmp_path, source=str(tmp_path / "absent"))
    (tmp_path / "usb").mkdir()
    with pytest.raises(UserError, match=r"thing was not found there; put sub/model.bin below"):
        fetch("thing", cache=tmp_path, source=str(tmp_path / "usb"))
    (tmp_path / "usb" / "model.bin").write_bytes(BODY[::-1])
    with pytest.raises(UserError, match="has sha256"):
        fetch("thing", cache=tmp_path, source=str(tmp_path / "usb"))
    assert (tmp_path / "usb" / "model.bin").read_bytes() == BODY[::-1]
    assert not (tmp_path / "thing").exists()


def test_from_a_mirror_address(hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry())
    hub.files["/weights/thing/sub/model.bin"] = BODY
    assert fetch("thing", cache=tmp_path, source=f"{hub.url}/weights/").read_bytes() == BODY


def test_disk_full_while_copying(register: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(entry())
    (tmp_path / "model.bin").write_bytes(BODY)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("datagen.weights.fetch.shutil.copyfile", full)
    with pytest.raises(UserError, match="disk full while copying"):
        fetch("thing", cache=tmp_path / "cache", source=str(tmp_path))


def test_zipped_pack_is_unpacked_inside_its_folder_only(hub: Any, register: Any, tmp_path: Path) -> None:
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("pack/det.onnx", b"det")
        archive.writestr("../../evil.onnx", b"evil")
        archive.writestr("readme.txt", b"no")
    data = bundle.getvalue()
    hub.files["/pack.zip"] = data
    file = WeightFile(
        "pack.zip", len(data), hashlib.sha256(data).hexdigest(), f"{hub.url}/pack.zip", "models/pack"
    )
    register(entry(repo="", files=(file,)))
    folder = fetch("thing", cache=tmp_path / "cache")
    assert sorted(path.name for path in (folder / "models/pack").iterdir()) == ["det.onnx", "evil.onnx"]
    assert not (tmp_path / "evil.onnx").exists()
    assert {fault for _, fault in verify("thing", tmp_path / "cache")} == {""}


@pytest.mark.parametrize("disk", [1 << 40, 10])
def test_a_pack_that_unpacks_to_too_much_is_refused(
    disk: int, hub: Any, register: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("det.onnx", bytes(10_000_000) if disk > 10 else BODY[:1000])
    hub.files["/pack.zip"] = bundle.getvalue()
    file = WeightFile("pack.zip", url=f"{hub.url}/pack.zip", unpack_to="models")
    register(entry(repo="", files=(file,)))
    space = type("Usage", (), {"free": disk})
    monkeypatch.setattr("datagen.weights.fetch.shutil.disk_usage", lambda _: space)
    monkeypatch.setattr(download, "_check_space", lambda *_: None)
    message = "10000000 bytes, which no pack of networks does" if disk > 10 else "1000 bytes: free space"
    with pytest.raises(UserError, match=message):
        fetch("thing", cache=tmp_path)


def test_local_path_names_the_command(register: Any, tmp_path: Path) -> None:
    register(entry(commercial="no"))
    with pytest.raises(
        UserError, match="run: megactor-datagen weights fetch thing --allow-noncommercial --cache"
    ):
        local_path("thing", tmp_path)
    with pytest.raises(UserError, match="not a known weight; known: thing"):
        local_path("think", tmp_path)


def test_command_line(hub: Any, register: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(entry())
    where = hub.add("org/thing", "sub/model.bin", BODY)
    monkeypatch.setenv("MEGACTOR_DATAGEN_CACHE", str(tmp_path))
    runner = CliRunner()
    assert runner.invoke(app, ["fetch", "thing", "--endpoint", hub.url]).exit_code == 0
    assert "ok, pinned sha256" in runner.invoke(app, ["verify"]).stdout
    assert '"state": "fetched"' in runner.invoke(app, ["list", "--json"]).stdout
    assert DIGEST in runner.invoke(app, ["list", "thing"]).stdout
    (tmp_path / "thing/sub/model.bin").write_bytes(b"?" * len(BODY))
    found = runner.invoke(app, ["verify", "thing"])
    assert isinstance(found.exception, UserError) and f"expected {DIGEST}" in found.stdout
    runner.invoke(app, ["fetch", "thing", "--endpoint", hub.url, "--force"])
    assert runner.invoke(app, ["verify"]).exit_code == 0
    assert len(hub.ranges(where)) == 2
