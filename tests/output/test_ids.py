"""Names and ids are safe for any source."""

from fnmatch import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.output import ids
from datagen.output.ids import clip_stem, key_hash


@given(st.text(min_size=1, max_size=300))
def test_clip_names_are_safe_for_any_source(source):
    name = clip_stem(source)
    assert 1 <= len(name) <= 40
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert name[0] not in "-_"
    assert len(key_hash(source)) == 8


def test_members_failures_and_shards_are_taken_apart_as_they_are_put_together() -> None:
    assert ids.member_suffix(ids.member_name("a-b_c-t0-f12", "driving_video.mp4")) == "driving_video.mp4"
    assert ids.failures_owner(ids.more_failures_name("p00003-u07", "0f" * 4)) == "p00003-u07"
    assert ids.failures_owner("p00003-u07") == "p00003-u07"
    shard = ids.shard_name("p00003-r2-u07", "ab" * 32)
    found = ids.SHARD_NAME.fullmatch(shard)
    assert found is not None and found["unit"] == "p00003-r2-u07"
    assert fnmatch(shard, ids.shards_pattern("p00003-r2-u07"))
    assert fnmatch(ids.portraits_name("w002", 7) + ".parquet", ids.portraits_pattern("w002"))


@pytest.mark.parametrize(
    ("unit", "part", "table", "first"),
    [
        ("p00003-u07", "p00003", "p00003", "p00003-u07"),
        ("p00003-u07-r4", "p00003", "p00003", "p00003-u07"),
        ("p123456-r2-u07-r10", "p123456", "p123456-r2", "p123456-r2-u07"),
    ],
)
def test_units_tell_their_part_their_table_and_the_first_try(
    unit: str, part: str, table: str, first: str
) -> None:
    assert ids.UNIT_NAME.fullmatch(unit)
    assert (ids.part_of(unit), ids.clip_table_of(unit), ids.first_unit(unit)) == (part, table, first)
    assert ids.part_number(unit) == int(part[1:])
    assert ids.is_again(unit) == (unit != first or "-r" in table)
