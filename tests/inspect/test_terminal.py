"""Rows and failures as tables and JSON, without control characters."""

import json

import pytest

from datagen.inspect import terminal as show
from tests.common.hostile import EVIL, UNSAFE

ROW = {
    "clip_id": None, "source": EVIL, "stream": None, "reason": "unreadable", "message": EVIL, "hint": EVIL,
    EVIL: [EVIL, {EVIL: EVIL}],
}  # fmt: skip


@pytest.mark.parametrize("render", [show.as_json, show.json_line, show.details, show.summary])
def test_no_value_of_a_row_controls_the_terminal(render):
    text = render(ROW)
    assert not UNSAFE.search(text)
    text.encode()


@pytest.mark.parametrize("render", [show.table, show.failures])
def test_no_value_in_a_table_controls_the_terminal(render):
    text = render([ROW])
    assert not UNSAFE.search(text)
    assert "\\x1b]0;PWNED\\x07" in text


def test_json_keeps_its_values():
    assert json.loads(show.json_line(ROW))["source"] == EVIL
    assert json.loads(show.as_json(ROW)) == json.loads(json.dumps(ROW))
