"""The cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datagen.common.errors import UserError
from datagen.weights.cache import local_path
from tests.weights.made import entry


def test_local_path_names_the_command(register: Any, tmp_path: Path) -> None:
    register(entry(commercial="no"))
    with pytest.raises(
        UserError, match="run: megactor-datagen weights fetch thing --allow-noncommercial --cache"
    ):
        local_path("thing", tmp_path)
    with pytest.raises(UserError, match="not a known weight; known: thing"):
        local_path("think", tmp_path)
