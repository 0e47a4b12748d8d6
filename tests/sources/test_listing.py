"""What is footage in a folder, and what is skipped and why."""

import os
import tarfile
import zipfile

import pytest

from datagen.common.errors import UserError
from datagen.sources.manifest import Manifest
from datagen.sources.source import describe_skipped
from tests.sources.made import listed, tar_with


def test_a_damaged_archive_is_itself_a_source(tmp_path):
    whole = tmp_path / "set.tar"
    tar_with(whole, [("a.mp4", b"a" * 4000, tarfile.REGTYPE), ("b.mp4", b"b" * 4000, tarfile.REGTYPE)])
    whole.write_bytes(whole.read_bytes()[:6000])
    (tmp_path / "empty.zip").write_bytes(b"")
    names = {item.source for item in listed(tmp_path).sources}
    assert {"empty.zip", "set.tar::a.mp4"} <= names


def test_patterns_and_subjects(tmp_path):
    for name in ("id01/x/a.mp4", "id02/x/b.mp4", "other/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    manifest = Manifest(
        name="v",
        root=".",
        include=("id*/**/*",),
        subject=r"^(?P<subject>id\d+)/",
        group=r"/(?P<group>\w)\.mp4",
    )
    found = listed(tmp_path, manifest)
    assert [(item.source, item.subject, item.group) for item in found.sources] == [
        ("id01/x/a.mp4", "id01", "a"),
        ("id02/x/b.mp4", "id02", "b"),
    ]
    assert [item.path for item in found.skipped] == ["other/c.mp4"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        listed(tmp_path / "nowhere")


def test_what_is_skipped_is_counted_with_the_reason(tmp_path):
    root = tmp_path / "in"
    for name in (
        "real/a.mp4", "d.vob", "e.m2v", "f.mxf", "g.y4m", "h.7z", "vox_partaa", "notes.txt", "more.txt", "plain",
        ".hidden/x.mp4", "._a.mp4", *(f"frames/{n:04d}.png" for n in range(20)), "frames/info.json",
    ):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    (tmp_path / "other").mkdir()
    (root / "link").symlink_to(tmp_path / "other")
    (root / "dangling.mp4").symlink_to("nowhere.mp4")
    (root / "circle").symlink_to("circle")
    os.mkfifo(root / "pipe.mp4")
    for folder in ("shards", "index"):
        (root / "earlier" / folder).mkdir(parents=True)
    (root / "earlier" / "run.json").write_text("{}")
    (root / "earlier" / "media.mp4").write_bytes(b"x")
    with zipfile.ZipFile(root / "twice.zip", "w") as pack, pytest.warns(UserWarning, match="Duplicate"):
        pack.writestr("x.mp4", b"first")
        pack.writestr("x.mp4", b"second")
        pack.writestr("inner.tar", b"x")
        pack.writestr("read.me", b"x")
        for n in range(20):
            pack.writestr(f"clip/{n}.jpg", b"x")
    found = listed(root)
    names = [item.source for item in found.sources]
    assert names == ["d.vob", "e.m2v", "f.mxf", "real/a.mp4", "twice.zip::x.mp4"]
    reasons = {}
    for item in found.skipped:
        reasons.setdefault(item.reason.partition(" (")[0], set()).add(item.path)
    assert reasons == {
        "linked folders are not followed": {"link/"},
        "broken links": {"dangling.mp4", "circle"},
        "hidden files and folders": {".hidden/", "._a.mp4"},
        "pipes, sockets and devices": {"pipe.mp4"},
        "output folders of this program, whose clips are not footage": {"earlier/"},
        "folders of numbered pictures": {"frames/", "twice.zip::clip/"},
        "videos of a kind that is not read": {"g.y4m"},
        "archives of a kind that is not read": {"h.7z"},
        "pieces of a split archive": {"vox_partaa"},
        "archives inside an archive": {"twice.zip::inner.tar"},
        "second files with the same name, such as in an archive that holds a name twice": {
            "twice.zip::x.mp4"
        },
    }
    assert found.others == {".txt": 2, "": 1, ".json": 1, ".me": 1}
    lines = describe_skipped(found)
    assert len(lines) == 12
    assert lines[-1] == "skipped 5 other files: 2 .txt, 1 without suffix, 1 .json, 1 .me"


def test_folders_that_may_not_be_read_are_said(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.mp4").write_bytes(b"x")
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # the tests may run as root, whom nothing is closed to
    found = listed(tmp_path)
    assert [item.source for item in found.sources] == ["a.mp4"]
    assert describe_skipped(found) == ["skipped 1: folders that may not be read (permissions): closed/"]


def test_the_output_inside_the_footage_is_left_out_from_the_beginning(tmp_path):
    out = tmp_path / "in" / "out"
    (out / "media").mkdir(parents=True)
    (out / "x.mp4").write_bytes(b"x")
    (tmp_path / "in" / "a.mp4").write_bytes(b"x")
    (out / "media" / "made.mp4").write_bytes(b"x")
    found = listed(tmp_path / "in", skip=out)
    assert [item.source for item in found.sources] == ["a.mp4"]
    assert [item.path for item in found.skipped] == ["out/"]
    assert [item.source for item in listed(out / "media", skip=out).sources] == ["made.mp4"]
    with pytest.raises(UserError, match="both the footage and the output"):
        listed(out, skip=out)
    for folder in ("shards", "index"):
        (out / folder).mkdir()
    (out / "run.json").write_text("{}")
    with pytest.raises(UserError, match="is an output of this program"):
        listed(out)


def test_names_of_skipped_files_cannot_control_a_terminal(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "x\x1b[2J.rar").write_bytes(b"x")
    (tmp_path / "x.\x1b[2J").write_bytes(b"x")
    assert "\x1b" not in "".join(describe_skipped(listed(tmp_path)))
