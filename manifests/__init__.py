"""Dataset manifests shipped with the package, named without path: `megactor-datagen run demo`."""

from pathlib import Path

FOLDER = Path(__file__).parent


def bundled() -> dict[str, Path]:
    """Name -> file of every manifest in the package."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
