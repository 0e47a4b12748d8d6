"""Load backends that other installed packages provide as entry points."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

from datagen.common.errors import UserError


def build_plugin(group: str, name: str, setting: str, recipe: object, needs: Sequence[str]) -> Any:
    """Build a backend from the entry point `name` of `group`: a function of the recipe in an installed package.

    Args:
        group: entry point group, such as `megactor_datagen.swap`.
        name: of the entry point.
        setting: the recipe key that asked for it, for the error message.
        recipe: given to the function.
        needs: attributes that the backend must have.

    Raises:
        UserError: no installed package provides it, or it cannot be built.
    """
    offered = entry_points(group=group)
    entry = next(iter(offered.select(name=name)), None)
    if entry is None:
        known = ", ".join(sorted(entry.name for entry in offered)) or "none"
        raise UserError(
            f"{setting} = {name!r} is not built in, and no installed package provides it "
            f"(entry points in {group!r}: {known})",
            code=2,
        )
    try:
        built = entry.load()(recipe)
    except UserError:
        raise
    except Exception as error:  # another package's code
        raise UserError(
            f"{setting} = {name!r}: the entry point {entry.value} in {group!r} cannot be built from the recipe "
            f"({type(error).__name__}: {error})"
        ) from error
    if missing := [attribute for attribute in needs if not hasattr(built, attribute)]:
        raise UserError(
            f"{setting} = {name!r}: what the entry point {entry.value} in {group!r} returns has no {missing[0]}"
        )
    return built
