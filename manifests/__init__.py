"""Manifests that are part of the package. They are used by name: `megactor-datagen run demo`."""

from pathlib import Path

FOLDER = Path(__file__).parent


def bundled() -> dict[str, Path]:
    """Name -> file of every bundled manifest."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
