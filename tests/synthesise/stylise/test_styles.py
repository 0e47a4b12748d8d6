"""Styles from folders, and those that are left out."""

import os
from pathlib import Path

import pytest

from datagen.common.errors import UserError
from datagen.recipe import load_recipe
from datagen.synthesise.stylise.styles import load_styles
from tests.imaging.pictures import encoded, header_of_png


def test_a_bad_style_is_skipped_with_one_warning(tmp_path):
    recipe = load_recipe(None, ["stylise.backends=[arbitrary]"])
    (tmp_path / "huge.png").write_bytes(header_of_png(20_000, 20_000))
    (tmp_path / "torn.png").write_bytes(b"x")
    said = []
    with pytest.raises(UserError, match="can serve as a style"):
        load_styles(tmp_path, recipe, said.append)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xe4d.png")).write_bytes(encoded(".png"))
    (style,) = load_styles(tmp_path, recipe, said.append)
    assert style.name == "b\\xe4d.png"
    (line,) = said
    assert line.startswith(
        "warning: 2 of 3 styles are left out: huge.png (the picture has 20000 x 20000 pixels"
    )
