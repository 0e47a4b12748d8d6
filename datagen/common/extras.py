"""Packages beyond the base install: a missing one is told as the extra that brings it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from datagen.common.errors import UserError


@contextmanager
def needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Around imports that work only with an extra of this package installed.

    Args:
        extra: its name in pyproject.toml, such as `train`.
        purpose: what needs it, as the first word of the message: `training`.

    Raises:
        UserError: one of the imported packages is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("datagen", "trainer"):
            raise
        raise UserError(
            f"{purpose} needs {error.name}, which is not installed: pip install 'megactor-datagen[{extra}]'"
        ) from error
