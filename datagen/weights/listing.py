"""The registry as tables for readers: the one of `weights list` and the one in docs/weights.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from datagen.weights import registry
from datagen.weights.cache import cache_folder, is_complete
from datagen.weights.registry import Weight, WeightFile


@dataclass(frozen=True)
class ShippedNetwork:
    """A face network that comes with the package, or with one that it depends on.

    Attributes:
        name: the network's name.
        where: the package that contains it.
        size: size in bytes.
        sha256, licence: hash and licence of its file.
    """

    name: str
    where: str
    size: int
    sha256: str
    licence: str


@dataclass(frozen=True)
class FileRow:
    """One file of a weight; None where size or hash are not known."""

    path: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True)
class Row:
    """One weight, for the tables.

    Attributes:
        name, title, used_by, source, licence, commercial, note: as in `registry.Weight`.
        size: size of the download, with its unit.
        pinned: how many of its files have a known sha256.
        state: `fetched`, `partly`, `no` or `shipped`.
        files: all of them.
    """

    name: str
    title: str
    used_by: str
    source: str
    size: str
    pinned: str
    licence: str
    commercial: str
    note: str
    state: str
    files: tuple[FileRow, ...]


def rows(cache: Path | None = None, shipped: Sequence[ShippedNetwork] = ()) -> list[Row]:
    """One row for each registered weight, with its state in the cache, then one for each shipped network."""
    root = cache_folder(cache)
    fetchable = [_row(entry, _state(entry, root)) for entry in registry.WEIGHTS]
    return fetchable + [_shipped_row(network) for network in shipped]


def text(row: Row, files: bool) -> str:
    """A row as a few lines of text; `files` adds one line for each file."""
    lines = [
        f"{row.name:<26}{row.size:>9}   commercial use: {row.commercial:<8}here: {row.state}",
        f"    {row.title}; for {row.used_by}",
        f"    source: {row.source}; sha256 known for {row.pinned}; licence: {row.licence}",
    ]
    lines += [f"    note: {row.note}"] if row.note else []
    if files:
        lines += [f"    {file.path}  {file.size or '?'} bytes  {file.sha256 or '-'}" for file in row.files]
    return "\n".join(lines)


def markdown() -> str:
    """The registry, without shipped networks, as the Markdown table in `docs/weights.md`; a test compares both."""
    lines = [
        "| name | what | used by | source | size | sha256 | licence | commercial use |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in (_row(entry, "") for entry in registry.WEIGHTS):
        cells = (
            row.name,
            row.title,
            row.used_by,
            row.source,
            row.size,
            row.pinned,
            row.licence,
            row.commercial,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _row(entry: Weight, state: str) -> Row:
    pinned = sum(file.sha256 is not None for file in entry.files)
    return Row(
        name=entry.name,
        title=entry.title,
        used_by=entry.used_by,
        source=entry.source,
        size=_size(entry.bytes),
        pinned=f"{pinned} of {len(entry.files)} files",
        licence=entry.licence,
        commercial=entry.commercial,
        note=entry.note,
        state=state,
        files=tuple(FileRow(file.path, file.size, file.sha256) for file in entry.files),
    )


def _state(entry: Weight, root: Path) -> str:
    if is_complete(entry, root / entry.name):
        return "fetched"
    parts = list((root / ".partial" / entry.name).rglob("*.part"))
    return "partly" if parts else "no"


def _shipped_row(network: ShippedNetwork) -> Row:
    file = WeightFile(network.name, network.size, network.sha256)
    entry = Weight(network.name, "embedded network", "datagen.faces", network.licence, "yes", (file,))
    return replace(_row(entry, "shipped"), source=f"shipped with {network.where}")


def _size(count: int) -> str:
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"
