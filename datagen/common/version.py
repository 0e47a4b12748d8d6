"""Version of the package, and the software name written to index rows."""

from __future__ import annotations

__version__ = "0.1.0"


def software() -> str:
    """Name and version of this package, as written to every row."""
    return f"megactor-datagen {__version__}"
