"""Text from outside is escaped before printing."""

import json

from hypothesis import given
from hypothesis import strategies as st

from datagen.common.text import plain, plain_json, shortened, shown
from datagen.inspect import terminal as show
from tests.common.hostile import UNSAFE


def test_other_unicode_is_kept():
    text = "Zoë 東京 👩‍🔬 مرحبا"
    assert plain(text) == shown(text) == text
    assert show.json_line({"a": text}) == f'{{"a": "{text}"}}'


@given(st.text(st.characters(exclude_categories=[]), max_size=40))
def test_any_text_can_be_printed_and_kept(text):
    assert not UNSAFE.search(plain(text))
    plain(text).encode()
    shown(text).encode()
    assert plain(plain(text)) == plain(text)
    assert json.loads(plain_json(json.dumps(text, ensure_ascii=False))) == text


def test_names_that_are_not_text_show_their_bytes():
    assert shown("b\udce4d.png") == "b\\xe4d.png"
    assert plain("b\udce4d\x1b\n", keep="") == "b\\xe4d\\x1b\\n"


def test_values_of_any_size_are_cut():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert shortened(deep) == "a list too large to show"
    assert shortened(10**6000) == "a int too large to show"
    assert shortened("x" * 500).endswith("(502 characters)")
