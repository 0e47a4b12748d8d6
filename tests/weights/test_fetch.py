"""Fetching: success, network errors, full disk, terms."""

from __future__ import annotations

import errno
import hashlib
import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from datagen.common.errors import UserError
from datagen.weights import download
from datagen.weights.cache import local_path, read_receipt, verify
from datagen.weights.fetch import fetch
from datagen.weights.registry import WeightFile
from tests.weights.made import BODY, DIGEST, entry


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
        )  # the connection drops, then the server goes down
        with pytest.raises(UserError, match=r"503; 100000 bytes are kept, the same command resumes"):
            fetch("thing", cache=tmp_path, endpoint=hub.url)
    assert not (tmp_path / "thing").exists()
    hub.broken.clear()
    assert fetch("thing", cache=tmp_path, endpoint=hub.url).read_bytes() == BODY
    assert hub.ranges(where)[-1] == "bytes=100000-"


def test_parallel_fetches_download_a_file_once(hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry())
    where = hub.add("org/thing", "sub/model.bin", BODY)
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch("thing", cache=tmp_path, endpoint=hub.url), range(4)))
    assert {path.read_bytes() for path in paths} == {BODY} and len(hub.ranges(where)) == 1


@pytest.mark.parametrize("pinned", [True, False])
def test_a_file_with_a_wrong_hash_is_deleted(pinned: bool, hub: Any, register: Any, tmp_path: Path) -> None:
    """Compared with the sha256 of the registry or, without one, of the hub."""
    register(entry(files=(WeightFile("sub/model.bin", sha256=DIGEST if pinned else None),)))
    where = hub.add("org/thing", "sub/model.bin", b"x" + BODY[1:])
    hub.etags[where] = DIGEST
    with pytest.raises(UserError, match=f"has sha256 .*says {DIGEST}; the file was deleted"):
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


def test_the_hash_of_the_first_fetch_is_kept(hub: Any, register: Any, tmp_path: Path) -> None:
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


def test_a_missing_file_and_a_dead_server_are_one_error_line(hub: Any, register: Any, tmp_path: Path) -> None:
    register(entry())
    with pytest.raises(UserError, match=r"model.bin was not found \(404\)"):
        fetch("thing", cache=tmp_path, endpoint=hub.url)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9/"):
        fetch("thing", cache=tmp_path, endpoint="http://127.0.0.1:9")
    with pytest.raises(UserError, match="give an http"):
        fetch("thing", cache=tmp_path, endpoint="ftp://x")


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
def test_fetching_from_a_folder_of_any_usual_layout(layout: str, register: Any, tmp_path: Path) -> None:
    register(entry())
    source = tmp_path / "usb"
    (source / layout).mkdir(parents=True)
    (source / layout / "model.bin").write_bytes(BODY)
    assert fetch("thing", cache=tmp_path / "cache", source=str(source)).read_bytes() == BODY


def test_files_from_a_folder_are_checked(register: Any, tmp_path: Path) -> None:
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


def test_fetching_from_a_mirror(hub: Any, register: Any, tmp_path: Path) -> None:
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
    message = "10000000 bytes, more than any pack" if disk > 10 else "1000 bytes: free space"
    with pytest.raises(UserError, match=message):
        fetch("thing", cache=tmp_path)
