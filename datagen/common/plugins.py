"""Load backends that other installed packages provide as entry points."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from datagen.common.errors import UserError


def load_plugin(group: str, name: str, setting: str) -> Callable[..., Any]:
    """The callable that an installed package registered as entry point `name` of `group`.

    Args:
        group: entry point group, such as `megactor_datagen.swap`.
        name: of the entry point.
        setting: the recipe key that asked for it, for the error message.

    Raises:
        UserError: no installed package provides it.
    """
    for entry in entry_points(group=group, name=name):
        loaded: Callable[..., Any] = entry.load()
        return loaded
    offered = ", ".join(sorted(entry.name for entry in entry_points(group=group))) or "none"
    raise UserError(
        f"{setting} = {name!r} is not built in, and no installed package provides it "
        f"(entry points in {group!r}: {offered})",
        code=2,
    )
