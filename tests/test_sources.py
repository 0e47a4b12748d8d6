import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.errors import Refusal, UserError
from datagen.manifest import Manifest, input_manifest
from datagen.sources import key_hash, list_sources, local_file, name_of

HOSTILE = ["-rf.mp4", "a b.mp4", "quo\"te's.mp4", "new\nline.mp4", "ünï.mp4", "concat:x.mp4", "http:--x.mp4"]


def tar_with(path, entries):
    with tarfile.open(path, "w") as tar:
        for name, content, kind in entries:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content)
            if kind == tarfile.SYMTYPE:
                info.linkname, info.size = "/etc/passwd", 0
            tar.addfile(info, io.BytesIO(content) if info.size else None)


def test_hostile_file_names_are_listed_and_opened(tmp_path):
    for name in HOSTILE:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("not a video")
    found = list_sources(tmp_path, input_manifest())
    assert sorted(item.source for item in found) == sorted(HOSTILE)
    for item in found:
        with local_file(item.path, item.member, tmp_path / "scratch") as path:
            assert path.read_bytes() == b"x"


def test_names_that_are_not_text_are_kept_openable(tmp_path):
    raw = os.fsencode(tmp_path) + b"/bad\xff.mp4"
    Path(os.fsdecode(raw)).write_bytes(b"x")
    (item,) = list_sources(tmp_path, input_manifest())
    item.source.encode()  # is text
    with local_file(item.path, item.member, tmp_path) as path:
        assert path.read_bytes() == b"x"


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
    for item in list_sources(archive.parent, input_manifest()):
        try:
            with local_file(item.path, item.member, tmp_path / "scratch") as path:
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


def test_a_damaged_archive_is_itself_a_source(tmp_path):
    whole = tmp_path / "set.tar"
    tar_with(whole, [("a.mp4", b"a" * 4000, tarfile.REGTYPE), ("b.mp4", b"b" * 4000, tarfile.REGTYPE)])
    whole.write_bytes(whole.read_bytes()[:6000])
    (tmp_path / "empty.zip").write_bytes(b"")
    names = {item.source for item in list_sources(tmp_path, input_manifest())}
    assert {"empty.zip", "set.tar::a.mp4"} <= names


def test_patterns_and_subjects(tmp_path):
    for name in ("id01/x/a.mp4", "id02/x/b.mp4", "other/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    manifest = Manifest(name="v", root=".", include=("id*/**/*",), subject=r"^(?P<subject>id\d+)/")
    assert [(item.source, item.subject) for item in list_sources(tmp_path, manifest)] == [
        ("id01/x/a.mp4", "id01"),
        ("id02/x/b.mp4", "id02"),
    ]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        list_sources(tmp_path / "nowhere", input_manifest())


@given(st.text(min_size=1, max_size=300))
def test_clip_names_are_safe_for_any_source(source):
    name = name_of(source)
    assert 1 <= len(name) <= 40
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert name[0] not in "-_"
    assert len(key_hash(source)) == 8
