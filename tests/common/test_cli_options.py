"""Messages and options that all commands share."""

from pathlib import Path

import pytest

from datagen.common import cli_options as options
from datagen.common.errors import UserError
from tests.common.hostile import EVIL, UNSAFE


def test_messages_and_output_folders_with_hostile_names(capsys):
    options.say(f"error: {EVIL}")
    options.answer(f"{EVIL}\nnext line")
    said = capsys.readouterr()
    assert not UNSAFE.search(said.err + said.out)
    assert "\\xe4" in said.err
    assert said.out.endswith("\nnext line\n")
    with pytest.raises(UserError, match="is not UTF-8"):
        options.folder(Path("o\udce4"))
    assert options.folder(Path("ö")) == Path("ö")
