import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.common.errors import Refusal, UserError
from datagen.output.ids import clip_stem, key_hash
from datagen.sources import files as source_files
from datagen.sources.files import SourceFiles, local_file, require_root
from datagen.sources.listing import list_sources
from datagen.sources.manifest import Manifest, input_manifest
from datagen.sources.source import describe_passed_over

GONE = "0" * 64
HOSTILE = ["-rf.mp4", "a b.mp4", "quo\"te's.mp4", "new\nline.mp4", "ünï.mp4", "concat:x.mp4", "http:--x.mp4"]


def listed(root, manifest=None, skip=None):
    return list_sources(root, manifest or input_manifest(), skip)


def absolute(root, item):
    return os.path.join(os.fsencode(root), item.path)


def planned(item, root="r"):
    return {"root": root, "path": item.path, "member": item.member}


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
    assert [item.path for item in found.passed_over] == ["other/c.mp4"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        listed(tmp_path / "nowhere")


def test_an_archive_as_root_and_text_for_names_in_it_that_are_none(tmp_path):
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
def test_members_of_packed_tars_are_read_and_damage_costs_a_refusal(tmp_path, kind):
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
    assert listed(tmp_path).sources  # the archive itself at least
    refused = pytest.raises(Refusal)
    with refused as caught, local_file(absolute(tmp_path, item), item.member, tmp_path / "scratch"):
        pass
    assert caught.value.reason == "damaged"


def test_what_is_passed_over_is_counted_with_the_reason(tmp_path):
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
    for item in found.passed_over:
        reasons.setdefault(item.reason.partition(" (")[0], set()).add(item.path)
    assert reasons == {
        "linked folders are not followed": {"link/"},
        "links that lead nowhere": {"dangling.mp4", "circle"},
        "hidden files and folders": {".hidden/", "._a.mp4"},
        "pipes, sockets and devices": {"pipe.mp4"},
        "output folders of this program, whose clips are no footage": {"earlier/"},
        "folders of numbered pictures": {"frames/", "twice.zip::clip/"},
        "videos of a kind that is not read": {"g.y4m"},
        "archives of a kind that is not read": {"h.7z"},
        "pieces of a split archive": {"vox_partaa"},
        "archives inside an archive": {"twice.zip::inner.tar"},
        "second files of one name, such as in an archive that holds a name twice": {"twice.zip::x.mp4"},
    }
    assert found.others == {".txt": 2, "": 1, ".json": 1, ".me": 1}
    lines = describe_passed_over(found)
    assert len(lines) == 12
    assert lines[-1] == "passed over 5 other files: 2 .txt, 1 without ending, 1 .json, 1 .me"


def test_the_first_of_two_members_of_one_name_is_the_one_that_is_read(tmp_path):
    tar_with(tmp_path / "set.tar", [("a.mp4", b"one", tarfile.REGTYPE), ("a.mp4", b"other", tarfile.REGTYPE)])
    (item,) = listed(tmp_path).sources
    with local_file(absolute(tmp_path, item), item.member, tmp_path / "scratch") as path:
        assert (item.size, path.read_bytes()) == (3, b"one")


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
    assert describe_passed_over(found) == [
        "passed over 1: folders that may not be read (permissions): closed/"
    ]


def test_the_output_inside_the_footage_is_left_out_from_the_beginning(tmp_path):
    out = tmp_path / "in" / "out"
    (out / "media").mkdir(parents=True)
    (out / "x.mp4").write_bytes(b"x")
    (tmp_path / "in" / "a.mp4").write_bytes(b"x")
    (out / "media" / "made.mp4").write_bytes(b"x")
    found = listed(tmp_path / "in", skip=out)
    assert [item.source for item in found.sources] == ["a.mp4"]
    assert [item.path for item in found.passed_over] == ["out/"]
    assert [item.source for item in listed(out / "media", skip=out).sources] == ["made.mp4"]
    with pytest.raises(UserError, match="folder of its own"):
        listed(out, skip=out)
    for folder in ("shards", "index"):
        (out / folder).mkdir()
    (out / "run.json").write_text("{}")
    with pytest.raises(UserError, match="is an output of this program"):
        listed(out)


def test_names_of_what_is_passed_over_cannot_steer_a_terminal(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "x\x1b[2J.rar").write_bytes(b"x")
    (tmp_path / "x.\x1b[2J").write_bytes(b"x")
    assert "\x1b" not in "".join(describe_passed_over(listed(tmp_path)))


def test_a_root_that_is_not_there_is_one_error(tmp_path):
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


def test_a_source_that_is_not_the_curated_one_is_refused(tmp_path):
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
    with pytest.raises(UserError, match="nobody said where"), files.open(planned(plain, "other"), tmp_path):
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


def test_what_happens_to_a_source_while_it_is_read_is_not_blamed_on_its_content(tmp_path):
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


def test_a_member_larger_than_the_disk_costs_itself(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("big.mp4", bytes(2_000_000))
        pack.writestr("small.mp4", b"x")
    usage = type("Usage", (), {"total": 10_000_000, "free": 2_100_000})
    monkeypatch.setattr(source_files.shutil, "disk_usage", lambda _: usage)
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


def test_a_member_that_lies_about_its_size_is_damaged(tmp_path):
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


@given(st.text(min_size=1, max_size=300))
def test_clip_names_are_safe_for_any_source(source):
    name = clip_stem(source)
    assert 1 <= len(name) <= 40
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert name[0] not in "-_"
    assert len(key_hash(source)) == 8
