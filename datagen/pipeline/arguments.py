"""Checks of the arguments of `Pipeline`. On the command line the option types make the same checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datagen.common.errors import UserError
from datagen.common.folders import folder
from datagen.common.text import shortened


def require(fits: bool, name: str, value: object, advice: str) -> None:
    """Raise a `UserError` if a check failed; it names the argument, its value and the expected value."""
    if not fits:
        raise UserError(f"{name} = {shortened(value)}: {advice}", code=2)


def require_positive(name: str, value: object) -> None:
    """Check an optional count.

    Raises:
        UserError: it is neither None nor a whole number from 1.
    """
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    require(value is None or whole, name, value, "give a whole number from 1, or None")


def output_folder(path: object) -> Path:
    """The folder of a data set.

    Raises:
        UserError: it is no path, the address of an object store, or a file.
    """
    require(isinstance(path, str | Path), "out", path, "give the folder of the data set")
    found = folder(str(path))
    require(not found.is_file(), "out", path, "this is a file; give a folder")
    return found


def texts(name: str, value: object) -> tuple[str, ...]:
    """Names as a tuple; a single name may be given as a string.

    Raises:
        UserError: it is neither a text nor a sequence of texts.
    """
    if isinstance(value, str):
        return (value,)
    fits = isinstance(value, Sequence) and all(isinstance(item, str) for item in value)
    require(fits, name, value, "give a list of texts")
    return tuple(value)  # type: ignore[arg-type]
