"""Opening sources: the file must be unchanged and its root present."""

import os
import zipfile
from pathlib import Path

import pytest

from datagen.common.errors import Refusal, UserError
from datagen.sources import files as source_files
from datagen.sources.files import SourceFiles, local_file, require_root
from tests.sources.made import absolute, listed

GONE = "0" * 64
HOSTILE = ["-rf.mp4", "a b.mp4", "quo\"te's.mp4", "new\nline.mp4", "ünï.mp4", "concat:x.mp4", "http:--x.mp4"]


def planned(item, root="r"):
    return {"root": root, "path": item.path, "member": item.member}


def test_hostile_file_names_are_listed_and_opened(tmp_path):
    for name in HOSTILE:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("not a video")
    found = listed(tmp_path).sources
    assert sorted(item.source for item in found) == sorted(HOSTILE)
    for item in found:
        assert not item.path.startswith(b"/")
        with local_file(absolute(tmp_path, item), item.member, tmp_path / "scratch") as path:
            assert path.read_bytes() == b"x"


def test_names_that_are_not_text_are_kept_openable(tmp_path):
    raw = os.fsencode(tmp_path) + b"/bad\xff.mp4"
    Path(os.fsdecode(raw)).write_bytes(b"x")
    (item,) = listed(tmp_path).sources
    item.source.encode()  # is text
    with local_file(absolute(tmp_path, item), item.member, tmp_path) as path:
        assert path.read_bytes() == b"x"


def test_a_missing_root_is_one_error(tmp_path):
    (tmp_path / "mount").mkdir()
    for root in (tmp_path / "mount", tmp_path / "nowhere"):
        with pytest.raises(UserError, match="mount it and run the same command again"):
            require_root(root)
        missing = os.fsencode(root / "a.mp4")
        with pytest.raises(UserError, match="mount it"), local_file(missing, "", tmp_path, root):
            pass
    (tmp_path / "mount" / "b.mp4").write_bytes(b"x")
    require_root(tmp_path / "mount")
    with (
        pytest.raises(Refusal, match="no longer exists"),
        local_file(missing, "", tmp_path, tmp_path / "mount"),
    ):
        pass


def test_a_source_that_changed_since_curation_is_refused(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    (root / "a.mp4").write_bytes(b"one")
    with zipfile.ZipFile(root / "b.zip", "w") as pack:
        pack.writestr("m.mp4", b"member")
    files = SourceFiles({"r": root})
    for item in listed(root).sources:
        with files.open(planned(item), tmp_path / "scratch") as opened:
            sha256 = opened.sha256
            assert source_files.file_sha256(opened.path) == sha256
        with files.open(planned(item), tmp_path / "scratch", sha256) as again:
            assert again.sha256 == sha256
        with pytest.raises(Refusal) as caught, files.open(planned(item), tmp_path / "scratch", GONE):
            pass
        assert caught.value.reason == "changed"
    plain = listed(root).sources[0]
    state = (root / "a.mp4").stat()
    (root / "a.mp4").write_bytes(b"two")
    os.utime(root / "a.mp4", ns=(state.st_atime_ns, state.st_mtime_ns))  # same size and date
    with pytest.raises(Refusal, match="was curated"), files.open(planned(plain), tmp_path, sha256):
        pass
    with pytest.raises(UserError, match="is not known"), files.open(planned(plain, "other"), tmp_path):
        pass


def test_a_plain_source_is_hashed_once(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"one")
    (item,) = listed(tmp_path).sources
    calls = []
    hashing = source_files.file_sha256
    monkeypatch.setattr(source_files, "file_sha256", lambda path: calls.append(path) or hashing(path))
    files = SourceFiles({"r": tmp_path})
    for _ in range(3):
        with files.open(planned(item), tmp_path):
            pass
    assert len(calls) == 1


def test_a_source_that_changes_while_it_is_read_is_reported_as_changed(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    (root / "a.mp4").write_bytes(b"one")
    (item,) = listed(root).sources
    files = SourceFiles({"r": root})
    with pytest.raises(Refusal) as caught, files.open(planned(item), tmp_path) as opened:
        opened.path.write_bytes(b"longer")
        raise Refusal("no_face", "half a file shows none")
    assert caught.value.reason == "changed"
    with pytest.raises(UserError, match="mount it"), files.open(planned(item), tmp_path):
        root.rename(tmp_path / "away")
        raise OSError("a decoder that lost its file")
