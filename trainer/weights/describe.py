"""The registry as rows for people: the `weights list` table and the one in docs/weights.md."""

from __future__ import annotations

import json
from pathlib import Path

from trainer.weights.cache import cache_folder, is_complete
from trainer.weights.registry import WEIGHTS, Weight


def rows(cache: Path | None = None) -> list[dict[str, object]]:
    """One dict per weight, shipped ones at the end, with its state in the cache."""
    root = cache_folder(cache)
    return [_row(entry, _state(entry, root)) for entry in WEIGHTS] + _shipped()


def markdown() -> str:
    """The registry (not what is shipped) as a Markdown table; `docs/weights.md` holds it and a test compares."""
    lines = [
        "| name | what | used by | source | size | sha256 | licence | commercial use |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in (_row(entry, "") for entry in WEIGHTS):
        keys = ("name", "title", "used_by", "source", "size", "pinned", "licence", "commercial")
        lines.append("| " + " | ".join(str(row[key]) for key in keys) + " |")
    return "\n".join(lines)


def _row(entry: Weight, state: str) -> dict[str, object]:
    pinned = sum(file.sha256 is not None for file in entry.files)
    return {
        "name": entry.name,
        "title": entry.title,
        "used_by": entry.used_by,
        "source": entry.source,
        "size": _size(entry.bytes),
        "pinned": f"{pinned} of {len(entry.files)} files",
        "licence": entry.licence,
        "commercial": entry.commercial,
        "note": entry.note,
        "state": state,
        "files": [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in entry.files],
    }


def _state(entry: Weight, root: Path) -> str:
    if is_complete(entry, root / entry.name):
        return "fetched"
    parts = list((root / ".partial" / entry.name).rglob("*.part"))
    return "partly" if parts else "no"


def _shipped() -> list[dict[str, object]]:
    """Networks that the package itself holds, from the `models.json` beside them."""
    package = Path(__file__).parents[2] / "datagen"
    found: list[dict[str, object]] = []
    for manifest in sorted(package.glob("*/weights/models.json")):
        for model in json.loads(manifest.read_text(encoding="utf-8")):
            path = manifest.parent / model["file"]
            size = path.stat().st_size if path.is_file() else 0
            found.append(
                {
                    "name": model["name"],
                    "title": "embedded network",
                    "used_by": f"datagen.{manifest.parent.parent.name}",
                    "source": "shipped with the package",
                    "size": _size(size),
                    "pinned": "1 of 1 files",
                    "licence": model["licence"],
                    "commercial": "yes",
                    "note": "",
                    "state": "shipped",
                    "files": [{"path": path.name, "size": size, "sha256": model["sha256"]}],
                }
            )
    return found


def _size(count: int) -> str:
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"
