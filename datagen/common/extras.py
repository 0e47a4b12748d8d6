"""Packages beyond the base install: if one is missing, the error names the extra that installs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from datagen.common.errors import UserError


@contextmanager
def needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Wrap imports of packages that only an extra of this package installs.

    Args:
        extra: its name in pyproject.toml, such as `train`.
        purpose: what needs it; the first words of the message, such as `training`.

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
