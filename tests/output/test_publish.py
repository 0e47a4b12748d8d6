"""A file is complete or absent after a crash, a full disk or a second writer."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.common.errors import UserError
from datagen.output.paths import Output
from datagen.output.publish import publish, read_tables, save_table, scratch, write_bytes, write_table


def test_the_first_to_publish_wins(output: Output) -> None:
    final = output.index / "a"
    assert write_bytes(b"first", final, output.tmp)
    inode = final.stat().st_ino
    assert not write_bytes(b"second", final, output.tmp)
    assert final.read_bytes() == b"first" and final.stat().st_ino == inode
    assert not list(output.tmp.iterdir())


def test_publishing_without_hard_links_uses_a_rename(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_table_on_a_full_disk_is_a_user_error(output: Output) -> None:
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


def test_publishing_a_missing_file_is_an_error(output: Output) -> None:
    with pytest.raises(FileNotFoundError):
        publish(output.tmp / "nothing", output.index / "a")
