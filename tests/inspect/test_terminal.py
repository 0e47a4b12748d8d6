"""What reaches a terminal: names are shown, never obeyed."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.common import cli_options as options
from datagen.common.errors import PERMANENT, REASONS, UserError
from datagen.common.text import plain, plain_json, shortened, shown
from datagen.inspect import terminal as show

EVIL = "bad\x1b]0;PWNED\x07\x1b[2J\x9b31m\u202egpj.mp4\udce4\r\n"
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
ROW = {
    "clip_id": None, "source": EVIL, "stream": None, "reason": "unreadable", "message": EVIL, "hint": EVIL,
    EVIL: [EVIL, {EVIL: EVIL}],
}  # fmt: skip


@pytest.mark.parametrize("render", [show.as_json, show.json_line, show.details, show.summary])
def test_nothing_of_a_row_steers_the_terminal(render):
    text = render(ROW)
    assert not UNSAFE.search(text)
    text.encode()


@pytest.mark.parametrize("render", [show.table, show.failures])
def test_nothing_of_rows_in_tables_steers_the_terminal(render):
    text = render([ROW])
    assert not UNSAFE.search(text)
    assert "\\x1b]0;PWNED\\x07" in text


def test_json_keeps_its_values():
    assert json.loads(show.json_line(ROW))["source"] == EVIL
    assert json.loads(show.as_json(ROW)) == json.loads(json.dumps(ROW))


def test_other_unicode_stays():
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


def test_permanent_reasons_are_known():
    assert set(REASONS) > PERMANENT
    assert not PERMANENT & {
        "unreadable",
        "changed",
        "crashed",
        "timeout",
        "out_of_memory",
        "internal",
        "too_large",
    }


def test_messages_and_output_folders_of_any_name(capsys):
    options.say(f"error: {EVIL}")
    options.answer(f"{EVIL}\nnext line")
    said = capsys.readouterr()
    assert not UNSAFE.search(said.err + said.out)
    assert "\\xe4" in said.err
    assert said.out.endswith("\nnext line\n")
    with pytest.raises(UserError, match="is not UTF-8"):
        options.folder(Path("o\udce4"))
    assert options.folder(Path("ö")) == Path("ö")
