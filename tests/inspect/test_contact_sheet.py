"""The contact sheet."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.common.errors import UserError
from datagen.inspect.contact_sheet import save_sheet
from datagen.output.paths import Output
from datagen.shards import Dataset


def test_the_same_clips_give_the_same_sheet(sound: Output, tmp_path: Path) -> None:
    data = Dataset(sound.root)
    save_sheet(data, data.table["clip_id"].to_pylist(), tmp_path / "deep" / "sheet.png")
    first = (tmp_path / "deep" / "sheet.png").read_bytes()
    save_sheet(data, data.table["clip_id"].to_pylist(), tmp_path / "sheet.png")
    assert first.startswith(b"\x89PNG") and first == (tmp_path / "sheet.png").read_bytes()
    with pytest.raises(UserError, match="no clip to show"):
        save_sheet(data, [], tmp_path / "none.png")
