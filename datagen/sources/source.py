"""Source videos as listed, before they are read, and what the listing skipped."""

from __future__ import annotations

from dataclasses import dataclass

from datagen.common.text import plain, shown


@dataclass(frozen=True)
class SourceVideo:
    """One source video as listed; it has not been read yet.

    Attributes:
        source: path below the root, with `::member` inside an archive; undecodable bytes are escaped.
        path: path of the file or archive below the root, as bytes of the file system.
        member: name inside the archive, escaped like `source`; empty for plain files.
        etag: modification time in ns; for zip members, their checksum.
    """

    source: str
    path: bytes
    member: str
    size: int
    etag: str
    subject: str | None
    group: str | None = None


@dataclass(frozen=True)
class Skipped:
    """A path under a root that did not become a source; folders end in `/`."""

    path: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """Sources under a root, sorted by name, and what was skipped.

    Attributes:
        others: number of other files (texts, pictures ...) by suffix.
    """

    sources: list[SourceVideo]
    skipped: list[Skipped]
    others: dict[str, int]


def describe_skipped(listing: Listing) -> list[str]:
    """One line for each reason, with count and first names, and one line for all other files."""
    paths: dict[str, list[str]] = {}
    for item in listing.skipped:
        paths.setdefault(item.reason, []).append(item.path)
    lines = []
    for reason, found in paths.items():
        first = ", ".join(plain(path, keep="") for path in found[:3]) + (", ..." if len(found) > 3 else "")
        lines.append(f"skipped {len(found)}: {reason}: {first}")
    if listing.others:
        ranked = sorted(listing.others.items(), key=lambda item: (-item[1], item[0]))
        kinds = [
            f"{count} {plain(shown(ending), keep='') or 'without suffix'}" for ending, count in ranked[:5]
        ]
        rest = sum(count for _, count in ranked[5:])
        total = sum(listing.others.values())
        lines.append(f"skipped {total} other files: {', '.join(kinds)}{f', {rest} more' if rest else ''}")
    return lines
