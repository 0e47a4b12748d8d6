"""Rows and failures as tables and JSON: no name steers the terminal."""

import json

import pytest

from datagen.inspect import terminal as show
from tests.common.hostile import EVIL, UNSAFE

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
