"""The registry as rows for people: the `weights list` table and the one in docs/weights.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datagen.weights import registry
from datagen.weights.cache import cache_folder, is_complete
from datagen.weights.registry import Weight, WeightFile


def rows(cache: Path | None = None) -> list[dict[str, Any]]:
    """One dict per weight, shipped ones at the end, with its state in the cache."""
    root = cache_folder(cache)
    return [_row(entry, _state(entry, root)) for entry in registry.WEIGHTS] + _shipped()


def text(row: dict[str, Any], files: bool) -> str:
    """A row of `rows` as a few lines: facts that are compared first, sentences below."""
    lines = [
        f"{row['name']:<26}{row['size']:>9}   commercial use: {row['commercial']:<8}here: {row['state']}",
        f"    {row['title']}; for {row['used_by']}",
        f"    source: {row['source']}; sha256 known for {row['pinned']}; licence: {row['licence']}",
    ]
    lines += [f"    note: {row['note']}"] if row["note"] else []
    if files:
        lines += [
            f"    {file['path']}  {file['size'] or '?'} bytes  {file['sha256'] or '-'}"
            for file in row["files"]
        ]
    return "\n".join(lines)


def markdown() -> str:
    """The registry (not what is shipped) as a Markdown table; `docs/weights.md` holds it and a test compares."""
    lines = [
        "| name | what | used by | source | size | sha256 | licence | commercial use |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in (_row(entry, "") for entry in registry.WEIGHTS):
        keys = ("name", "title", "used_by", "source", "size", "pinned", "licence", "commercial")
        lines.append("| " + " | ".join(str(row[key]) for key in keys) + " |")
    return "\n".join(lines)


def _row(entry: Weight, state: str) -> dict[str, Any]:
    pinned = sum(file.sha256 is not None for file in entry.files)
    return {
        "name": entry.name,
        "title": entry.title,
        "used_by": entry.used_by,
        "source": entry.source if entry.repo or entry.files[0].url else "",
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


def _shipped() -> list[dict[str, Any]]:
    """Networks that come with the package or its dependencies."""
    from datagen.faces.identity import INFO as DLIB

    package = Path(__file__).parents[1]
    found = []
    for manifest in sorted(package.glob("**/weights/models.json")):
        used_by = f"datagen.{manifest.relative_to(package).parts[0]}"
        for model in json.loads(manifest.read_text(encoding="utf-8")):
            size = (manifest.parent / model["file"]).stat().st_size
            found.append(
                _shipped_row(model["name"], used_by, "the package", size, model["sha256"], model["licence"])
            )
    name, sha256, licence = DLIB.name, DLIB.sha256, DLIB.licence
    found.append(_shipped_row(name, "datagen.faces", DLIB.version, 22_466_066, sha256, licence))
    return found


def _shipped_row(name: str, used_by: str, where: str, size: int, sha256: str, licence: str) -> dict[str, Any]:
    file = WeightFile(name, size, sha256)
    entry = Weight(name, "embedded network", used_by, licence, "yes", (file,))
    return _row(entry, "shipped") | {"source": f"shipped with {where}"}


def _size(count: int) -> str:
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


if __name__ == "__main__":
    print(markdown())
