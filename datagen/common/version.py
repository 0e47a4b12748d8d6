"""Version of the package, and how index rows name the software that made them."""

from __future__ import annotations

__version__ = "0.1.0"


def software() -> str:
    """Name and version of this package, as it stands in every row."""
    return f"megactor-datagen {__version__}"
