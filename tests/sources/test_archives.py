"""Members of archives: unsafe names, wrong sizes and members larger than the disk are refused."""

import io
import os
import tarfile
import zipfile

import pytest

from datagen.common.errors import Refusal
from datagen.sources import archives
from datagen.sources.files import local_file
from tests.sources.made import absolute, listed, tar_with


def test_members_that_escape_are_refused_and_nothing_is_written(tmp_path):
    archive = tmp_path / "in" / "set.tar"
    archive.parent.mkdir()
    tar_with(
        archive,
        [
            ("../evil.mp4", b"x", tarfile.REGTYPE),
            ("/abs.mp4", b"x", tarfile.REGTYPE),
            ("link.mp4", b"", tarfile.SYMTYPE),
            ("good/a.mp4", b"good", tarfile.REGTYPE),
        ],
    )
    with zipfile.ZipFile(archive.with_suffix(".zip"), "w") as zipped:
        zipped.writestr("../evil2.mp4", b"x")
        zipped.writestr("ok.mp4", b"ok")
    outcomes = {}
    for item in listed(archive.parent).sources:
        try:
            with local_file(absolute(archive.parent, item), item.member, tmp_path / "scratch") as path:
                outcomes[item.source] = path.read_bytes()
        except Refusal as refusal:
            outcomes[item.source] = refusal.reason
    assert outcomes == {
        "set.tar::../evil.mp4": "unsafe_member",
        "set.tar::/abs.mp4": "unsafe_member",
        "set.tar::link.mp4": "unsafe_member",
        "set.tar::good/a.mp4": b"good",
        "set.zip::../evil2.mp4": "unsafe_member",
        "set.zip::ok.mp4": b"ok",
    }
    assert not list(tmp_path.rglob("evil*"))
    assert not any((tmp_path / "scratch").iterdir())


def test_an_archive_as_root_with_a_member_name_that_is_not_utf8(tmp_path):
    archive = tmp_path / "set.tar"
    with tarfile.open(archive, "w", errors="surrogateescape") as tar:
        info = tarfile.TarInfo("b\udce4d.mp4")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    (item,) = listed(archive).sources
    assert (item.path, item.member) == (b"set.tar", "b\\xe4d.mp4")
    with local_file(absolute(tmp_path, item), item.member, tmp_path / "scratch") as path:
        assert path.read_bytes() == b"x"


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_members_of_packed_tars_are_read_and_damage_is_refused(tmp_path, kind):
    archive = tmp_path / f"set.tar.{kind}"
    content = os.urandom(30_000)
    with tarfile.open(archive, f"w:{kind}") as tar:
        info = tarfile.TarInfo("a.mp4")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    (item,) = listed(tmp_path).sources
    with local_file(absolute(tmp_path, item), item.member, tmp_path / "scratch") as path:
        assert path.read_bytes() == content
    archive.write_bytes(archive.read_bytes()[:20_000])
    assert listed(tmp_path).sources  # at least the archive itself
    refused = pytest.raises(Refusal)
    with refused as caught, local_file(absolute(tmp_path, item), item.member, tmp_path / "scratch"):
        pass
    assert caught.value.reason == "damaged"


def test_the_first_of_two_members_of_one_name_is_the_one_that_is_read(tmp_path):
    tar_with(tmp_path / "set.tar", [("a.mp4", b"one", tarfile.REGTYPE), ("a.mp4", b"other", tarfile.REGTYPE)])
    (item,) = listed(tmp_path).sources
    with local_file(absolute(tmp_path, item), item.member, tmp_path / "scratch") as path:
        assert (item.size, path.read_bytes()) == (3, b"one")


def test_a_member_larger_than_the_disk_fails_alone(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("big.mp4", bytes(2_000_000))
        pack.writestr("small.mp4", b"x")
    usage = type("Usage", (), {"total": 10_000_000, "free": 2_100_000})
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage)
    big, small = listed(tmp_path).sources
    with (
        pytest.raises(Refusal) as caught,
        local_file(absolute(tmp_path, big), big.member, tmp_path / "scratch"),
    ):
        pass
    assert (caught.value.reason, caught.value.value, caught.value.limit) == ("too_large", 2e6, 1.6e6)
    assert not any((tmp_path / "scratch").iterdir())
    with local_file(absolute(tmp_path, small), small.member, tmp_path / "scratch") as path:
        assert path.read_bytes() == b"x"


def test_a_member_with_a_wrong_size_is_damaged(tmp_path):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("a.mp4", bytes(100_000))
    data = archive.read_bytes()
    archive.write_bytes(data.replace((100_000).to_bytes(4, "little"), (50).to_bytes(4, "little")))
    (item,) = listed(tmp_path).sources
    assert item.size == 50
    with (
        pytest.raises(Refusal) as caught,
        local_file(absolute(tmp_path, item), item.member, tmp_path / "scratch"),
    ):
        pass
    assert caught.value.reason == "damaged"
