"""The registry is sound and its documentation is that of the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from datagen.common.errors import UserError
from datagen.weights.listing import markdown
from datagen.weights.registry import WEIGHTS, weight
from tests.support import ROOT
from trainer.commands.weights import app


def test_documentation_holds_the_registry() -> None:
    page = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
    assert markdown() in page, "run: python -m datagen.weights.listing, and put it into docs/weights.md"


def test_entries_are_whole() -> None:
    assert len({entry.name for entry in WEIGHTS}) == len(WEIGHTS)
    for entry in WEIGHTS:
        assert entry.licence and entry.used_by and entry.bytes > 0
        assert entry.repo or all(file.url.startswith("https://") for file in entry.files)
        for file in entry.files:
            assert not Path(file.path).is_absolute() and ".." not in Path(file.path).parts
            assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)


def test_the_list_has_shipped_networks_too(tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["list", "--json", "--cache", str(tmp_path)]).stdout
    states = {row["state"] for row in json.loads(listed)}
    assert states == {"no", "shipped"}


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'sd2' is not a known weight; known: sd15, ") as caught:
        weight("sd2")
    assert caught.value.code == 2
