"""`verify --repair` replaces lost and damaged files by new ones with the same bytes."""

from __future__ import annotations

import shutil

import pyarrow.parquet as pq
import pytest

from datagen.common.errors import UserError
from datagen.inspect.verify import verify
from datagen.output.paths import Output
from datagen.output.publish import read_table, read_tables
from datagen.output.store import Store
from datagen.shards import Dataset
from datagen.shards.compact import compact_index
from tests.end_to_end.people import NAMES, bytes_of, call, rows

pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture
def out(plain_output, tmp_path):
    return shutil.copytree(plain_output, tmp_path / "out")


def flip(path, place):
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


def in_column(path, name):
    """A byte near the end of the values of a column."""
    group = pq.ParquetFile(path).metadata.row_group(0)
    column = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == name)
    return (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size - 2


def test_everything_lost_is_made_again_with_the_same_bytes(out, plain_output):
    shards = sorted((out / "shards").iterdir())
    shards[0].unlink()
    flip(shards[1], shards[1].stat().st_size // 2)
    (out / "index" / f"{shards[2].name.rpartition('-')[0]}.parquet").unlink()
    pieces = sorted(path for path in (out / "clips").iterdir() if pq.read_metadata(path).num_rows)
    flip(pieces[3], in_column(pieces[3], "start_s"))
    pieces[0].write_bytes(b"")
    (failures,) = (out / "failures").iterdir()
    failures.write_bytes(failures.read_bytes()[:-20])
    assert bytes_of(out) != bytes_of(plain_output)
    assert "faults" in call("verify", out, code=1).stderr
    call("verify", out, "--repair")
    assert bytes_of(out) == bytes_of(plain_output)
    assert not list((out / "tmp").iterdir())


def test_a_unit_that_cannot_be_repaired_stays_and_is_named(out, people_set, tmp_path):
    lent = people_set.copy(tmp_path / "elsewhere")
    lent.video(2).write_bytes(lent.video(3).read_bytes())
    call("synthesise", out, "--root", f"people={lent.footage}")
    row = next(row for row in rows(out) if row["subject"] == NAMES[2])
    shard = out / "shards" / row["shard"]
    flip(shard, shard.stat().st_size // 2)
    hurt = bytes_of(out)
    done = call("verify", out, "--repair", code=1)
    assert f"{row['unit']} cannot be repaired" in done.stdout and "was curated" in done.stdout
    assert bytes_of(out) == hurt


def test_one_flipped_bit_in_a_table_is_an_error_everywhere(out):
    """Without page checksums it would be read as another number."""
    piece = sorted(path for path in (out / "clips").iterdir() if pq.read_metadata(path).num_rows)[0]
    flip(piece, in_column(piece, "start_s"))
    for read in (
        lambda: read_table(piece),
        lambda: read_tables(out / "clips"),
        lambda: Store.open(out).table("clips", piece.name),
    ):
        with pytest.raises(UserError, match=r"cannot (read|be read)"):
            read()
    index = sorted((out / "index").iterdir())[1]
    flip(index, in_column(index, "face_area"))
    with pytest.raises(UserError, match="cannot read the index"):
        Dataset(out)
    assert verify(out).damaged_units == {index.stem}


def test_a_damaged_merged_index_is_found_and_replaced(out):
    compact_index(Output(out))
    merged = out / "compacted" / "index.parquet"
    flip(merged, in_column(merged, "face_area"))
    with pytest.raises(UserError, match="cannot read the index"):
        Dataset(out)
    assert "compacted/index.parquet" in call("verify", out, code=1).stdout
    call("verify", out, "--repair")
    assert len(Dataset(out)) == 4


def test_a_purge_does_not_hide_damage_and_repair_fixes_it(out):
    row = next(row for row in rows(out) if row["subject"] == NAMES[3])
    shard = out / "shards" / row["shard"]
    whole = shard.read_bytes()
    flip(shard, row["members"][0]["offset"] + row["members"][0]["size"] // 2)
    call("remove", out, "--subject", NAMES[0])
    call("compact", out, "--purge")
    assert row["clip_id"] in call("verify", out, code=1).stdout
    call("verify", out, "--repair")
    assert shard.read_bytes() == whole
    assert len(rows(out)) == 3
