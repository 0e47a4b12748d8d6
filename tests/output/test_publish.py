"""A file is there whole or not at all, whoever dies, fills the disk or does the same at once."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.common.errors import UserError
from datagen.output.paths import Output, published_names
from datagen.output.publish import publish, read_tables, save_table, scratch, write_bytes, write_table
from datagen.output.temporary import temporary
from datagen.shards import Dataset
from tests.shards.made import write_unit
from tests.support import environment


def run_python(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_first_to_publish_wins(output: Output) -> None:
    final = output.index / "a"
    assert write_bytes(b"first", final, output.tmp)
    inode = final.stat().st_ino
    assert not write_bytes(b"second", final, output.tmp)
    assert final.read_bytes() == b"first" and final.stat().st_ino == inode
    assert not list(output.tmp.iterdir())


def test_without_hard_links_a_rename_does(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "link", no_links)
    assert write_bytes(b"first", output.index / "a", output.tmp)
    assert not write_bytes(b"second", output.index / "a", output.tmp)
    assert (output.index / "a").read_bytes() == b"first" and not list(output.tmp.iterdir())


@pytest.mark.parametrize("full", ["write", "sync"])
def test_a_full_disk_publishes_nothing_and_says_where(
    output: Output, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC if full == "write" else errno.EDQUOT, "full")

    monkeypatch.setattr(*((Path, "write_bytes") if full == "write" else (os, "fsync")), no_space)
    with pytest.raises(UserError, match=f"(disk|quota) of {output.root}.* is full"):
        write_bytes(b"data", output.index / "a", output.tmp)
    assert not list(output.index.iterdir()) and not list(output.tmp.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_table_on_a_full_disk_is_an_error_of_the_user(output: Output) -> None:
    with pytest.raises(UserError, match="is full"), scratch(output.tmp, "table") as path:
        path.symlink_to("/dev/full")
        save_table(pa.table({"a": list(range(100_000))}), path)


def test_table_bytes_depend_on_rows_alone(output: Output) -> None:
    table = pa.table({"a": [1, 2, 3, 4], "b": [["x"], None, [], ["y", "z"]]})
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)]).replace_schema_metadata({"host": "here"})
    write_table(table, output.index / "a.parquet", output.tmp)
    write_table(chunked, output.index / "b.parquet", output.tmp)
    assert (output.index / "a.parquet").read_bytes() == (output.index / "b.parquet").read_bytes()
    assert pq.read_schema(output.index / "a.parquet").metadata is None
    assert read_tables(output.index, schema=table.schema).num_rows == 8
    assert read_tables(output.failures, ["reason"]).column_names == ["reason"]


def test_only_temporary_files_of_the_dead_are_cleared(output: Output) -> None:
    mine = temporary(output.tmp, "mine")
    mine.write_text("at work")
    code = (
        "import sys, pathlib; from datagen.output.temporary import temporary\n"
        "path = temporary(pathlib.Path(sys.argv[1]), 'theirs'); path.mkdir(); (path / 'x').write_text('x')\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    living = run_python(code, output.tmp)
    assert living.stdout and living.stdout.readline() == b"ready\n"
    theirs = next(path for path in output.tmp.iterdir() if path != mine)
    (output.tmp / "whatever").write_text("no owner")
    far = output.tmp / "far~other-host~1~1~0"
    far.write_text("x")
    assert output.clear_stale_tmp() == 1
    assert {mine, theirs, far} == set(output.tmp.iterdir())
    os.utime(far, (time.time() - 90_000,) * 2)
    living.kill()
    living.wait()
    assert output.clear_stale_tmp() == 2
    assert list(output.tmp.iterdir()) == [mine]


KILLED = """
import os, signal, sys, pathlib
from datagen.output.paths import Output
from tests.shards.made import write_unit

def dying(function, calls):
    def call(*arguments):
        calls.append(function)
        if len(calls) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return call

dies_at = 0
while True:
    dies_at += 1
    child = os.fork()
    if not child:
        output, calls = Output(pathlib.Path(sys.argv[1]) / str(dies_at)), []
        output.create()
        os.link, os.fsync, os.unlink = (dying(function, calls) for function in (os.link, os.fsync, os.unlink))
        write_unit(output, "p00000-u00", failures=1)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(dies_at - 1)
"""


def test_a_kill_at_any_step_leaves_a_whole_unit_or_none(tmp_path: Path) -> None:
    whole = Output(tmp_path / "whole")
    whole.create()
    write_unit(whole, "p00000-u00", failures=1)
    wanted = snapshot(whole.root)
    kills = int(run_python(KILLED, tmp_path).communicate()[0])
    assert kills >= 9, "link and two syncs for each of three files"
    published = 0
    for step in range(1, kills + 1):
        output = Output(tmp_path / str(step))
        if published_names(output.index):
            published += 1
            data = Dataset(output.root)
            assert [data.read(data.row(number), "video.mp4")[:1] for number in (0, 1)] == [b"\0", b"\1"]
        output.clear_stale_tmp()
        write_unit(output, "p00000-u00", failures=1)
        assert snapshot(output.root) == wanted
    assert 0 < published < kills


BOTH = """
import sys, pathlib
from datagen.output.paths import Output
from tests.shards.made import write_unit
output = Output(pathlib.Path(sys.argv[1]))
print(sum(write_unit(output, f"p00000-u{number:02d}", failures=1) for number in range(30)))
"""


def test_two_drivers_at_once_publish_each_unit_once(output: Output, tmp_path: Path) -> None:
    drivers = [run_python(BOTH, output.root) for _ in range(2)]
    first = [int(driver.communicate()[0]) for driver in drivers]
    assert sum(first) == 30 and [driver.returncode for driver in drivers] == [0, 0]
    assert not list(output.tmp.iterdir())
    alone = Output(tmp_path / "alone")
    alone.create()
    for number in range(30):
        write_unit(alone, f"p00000-u{number:02d}", failures=1)
    assert snapshot(output.root) == snapshot(alone.root)


def test_publishing_never_touches_what_is_there(dataset: Output) -> None:
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in dataset.shards.iterdir()}
    assert not write_unit(dataset, "p00000-u00", clips=3)
    assert before == {
        path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in dataset.shards.iterdir()
    }


def test_a_file_that_vanished_is_no_silent_success(output: Output) -> None:
    with pytest.raises(FileNotFoundError):
        publish(output.tmp / "nothing", output.index / "a")
