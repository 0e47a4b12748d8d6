"""After a withdrawal nothing new shows the person, and a purge removes every byte of the person."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest

from datagen.common.errors import UserError
from datagen.common.owner import owner_id
from datagen.maintain.purge import purge_all
from datagen.maintain.withdraw import remove
from datagen.output.paths import Output
from datagen.shards import Dataset
from datagen.synthesise import unit as units
from tests.end_to_end.people import BROKEN, NAMES, bytes_of, call, curated, rows, table

ADA, BERTRAND, CAROLINE, DOROTHY = NAMES

pytestmark = pytest.mark.usefixtures("in_process")


def contents(out) -> Iterator[tuple[str, bytes]]:
    """Content of every file under an output, and every value of its tables, which are compressed."""
    for path in out.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(out)), str(path.name).encode() + path.read_bytes()
        if path.suffix == ".parquet":
            for row in pq.read_table(path).to_pylist():
                yield f"{path.relative_to(out)}: a row", repr(row).encode()
                yield (
                    f"{path.relative_to(out)}: a value",
                    b"".join(v for v in row.values() if type(v) is bytes),
                )


def traces(out, name, pictures=()):
    """Places where an output contains the name of a person or bytes of their pictures."""
    words = [*([name.encode()] if name else []), *pictures]
    return sorted({where for where, data in contents(out) for word in words if word in data})


def pictures_of(out, name):
    """Pieces of all streams and portraits that show a person."""
    data = Dataset(out)
    found = [row["image"] for row in pool(out) if name in row["name"] and row["image"]]
    for row in rows(out):
        shown = {"video": row["subject"], "swapped": row["donor"], "styled": row["style"]}
        for stream, whom in shown.items():
            if row["subject"] == name or name in (whom or ""):
                found.append(data.read(row, f"{stream}.mp4"))
    return [item[len(item) // 2 :][:48] for item in found]


def pool(out):
    return [row for path in (out / "plan/donors").glob("*.parquet") for row in table(path)]


def wearing(out):
    """The donor and the style of each person."""
    return {row["subject"]: f"{row['donor']} {row['style']}" for row in rows(out)}


def test_the_shared_output_has_the_faces_these_tests_need(full_output):
    worn = wearing(full_output)
    assert BERTRAND in worn[CAROLINE] and worn[BERTRAND].startswith("clara")
    assert f"portrait {ADA}" in worn[DOROTHY]
    assert {row["subject"]: row["split"] for row in rows(full_output)} == {
        ADA: "val", BERTRAND: "train", CAROLINE: "train", DOROTHY: "val",
    }  # fmt: skip


def test_no_face_crosses_from_one_split_to_another(full_output):
    split_of = {row["clip_id"]: row["split"] for row in rows(full_output)}
    for row in rows(full_output):
        for face in (row["donor"], (row["style"] or "").removeprefix("portrait ")):
            assert split_of.get(face, row["split"]) == row["split"], row["clip_id"]
    assert {row["name"]: row["split"] for row in pool(full_output) if row["reason"] is None} == {
        **split_of, "clara": "train",
    }  # fmt: skip


def test_withdrawing_two_people_removes_them_and_replaces_their_faces(full_output, tmp_path):
    out = shutil.copytree(full_output, tmp_path / "out")
    seen = {name: pictures_of(out, name) for name in (ADA, BERTRAND)}
    assert all(len(pieces) >= 5 for pieces in seen.values())
    assert all(traces(out, name, seen[name]) for name in seen)
    before = bytes_of(out, ("",))
    reader = Dataset(out)
    opened = {row["subject"]: row for row in rows(out)}
    for name in seen:
        call("remove", out, "--subject", name)
    assert wearing(out) == {}
    for name in NAMES:  # also one that was opened before
        with pytest.raises(UserError, match="withdrawn after"):
            reader.read(opened[name], "video.mp4")
    assert BERTRAND not in call("failures", out).stdout
    call("compact", out, "--purge")
    assert {name: traces(out, name, seen[name]) for name in seen} == {ADA: [], BERTRAND: []}
    after = bytes_of(out, ("",))
    for name in ("README.md", "croissant.json", "sheet.png"):
        assert after.get(name) != before[name], f"{name} is as it was"
    call("synthesise", out)
    worn = wearing(out)
    assert worn[CAROLINE].startswith("clara ")
    assert worn[DOROTHY].startswith("None ") and "portrait " not in worn[DOROTHY], (
        "nobody else is in validation"
    )
    assert {row["unit"][-3:] for row in rows(out)} == {"-r1", "-r2"}
    assert {name: traces(out, name, seen[name]) for name in seen} == {ADA: [], BERTRAND: []}
    call("verify", out)


def test_people_withdrawn_before_the_freeze_are_no_donors(full_output, tmp_path):
    out = curated(full_output, tmp_path / "out")
    for name in (CAROLINE, BERTRAND):
        call("remove", out, "--subject", name)
    call("synthesise", out)
    assert set(wearing(out)) == {ADA, DOROTHY}
    assert not [where for row in pool(out) for where in (CAROLINE, BERTRAND) if where in repr(row)]
    assert sum(row["image"] is None and row["reason"] == "withdrawn" for row in pool(out)) == 2
    for row in rows(out):  # nobody else's clip has changed; its row names the pool, which is another
        whole = Dataset(full_output)
        for suffix in Dataset(out).suffixes(row):
            if suffix != "json":
                assert Dataset(out).read(row, suffix) == whole.read(row["clip_id"], suffix), suffix


def test_a_bundled_portrait_can_be_withdrawn(full_output, tmp_path):
    out = shutil.copytree(full_output, tmp_path / "out")
    image = next(row["image"] for row in pool(out) if row["name"] == "clara")
    assert traces(out, None, [image[100:160]])
    assert "1 clips hidden" in call("remove", out, "--donor", "clara").stdout
    assert BERTRAND not in wearing(out)
    call("compact", out, "--purge")
    assert not traces(out, None, [image[100:160]])
    assert "did you mean" in call("remove", out, "--donor", "klara", code=1).stderr


def test_footage_withdrawn_while_its_unit_is_made_is_not_published(plain_output, tmp_path, monkeypatch):
    out = curated(plain_output, tmp_path / "out")
    make = units.make_clip

    def slow(clip, *rest):
        done = make(clip, *rest)
        if clip["subject"] == CAROLINE:
            remove(Output(out), subject=CAROLINE)
            purge_all(Output(out))
        return done

    monkeypatch.setattr(units, "make_clip", slow)
    call("synthesise", out)
    assert set(wearing(out)) == set(NAMES) - {CAROLINE}
    assert traces(out, CAROLINE) == []
    call("verify", out)


def test_a_purge_removes_what_a_killed_run_left(plain_output, tmp_path):
    out = shutil.copytree(plain_output, tmp_path / "out")
    place, _, start = owner_id().split("~")
    left = out / "tmp" / f"p00004-u00~{place}~1~{start}0~1"  # another process has this number by now
    elsewhere = out / "tmp" / f"p00004-u00~{place}0~1~{start}~1"
    for folder in (left, elsewhere):
        folder.mkdir()
        (folder / "shard.tar").write_text(f"{CAROLINE}/talk-2.mp4")
    os.utime(elsewhere, (0, time.time() - 2000))
    (out / "logs" / "tasks").mkdir(exist_ok=True)
    (out / "logs" / "tasks" / "curate-p00003.log").write_text(f"{CAROLINE}/talk-2.mp4")
    call("remove", out, "--subject", CAROLINE)
    call("compact", out, "--purge")
    assert traces(out, CAROLINE) == []


def test_a_source_that_failed_is_withdrawn_by_its_name(plain_output, tmp_path):
    out = shutil.copytree(plain_output, tmp_path / "out")
    assert BROKEN in call("failures", out).stdout
    call("remove", out, "--source", BROKEN)
    call("compact", out, "--purge")
    assert traces(out, BROKEN) == []
    assert set(wearing(out)) == set(NAMES)
    assert hashlib.sha256(BROKEN.encode()).hexdigest() not in repr(bytes_of(out, ("withdrawn",))), "salted"
