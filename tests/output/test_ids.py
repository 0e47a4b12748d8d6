"""Names and ids are safe for any source."""

from hypothesis import given
from hypothesis import strategies as st

from datagen.output.ids import clip_stem, key_hash


@given(st.text(min_size=1, max_size=300))
def test_clip_names_are_safe_for_any_source(source):
    name = clip_stem(source)
    assert 1 <= len(name) <= 40
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert name[0] not in "-_"
    assert len(key_hash(source)) == 8
