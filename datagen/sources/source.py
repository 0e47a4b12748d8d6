"""The source videos of a plan: what is known of each before it is read, and how it and its clips are named."""

from __future__ import annotations

from dataclasses import dataclass

from datagen.common.text import plain, shown


@dataclass(frozen=True)
class SourceVideo:
    """One source video as listed: nothing of it has been read yet.

    Attributes:
        source: path below the root, with `::member` inside an archive; undecodable bytes are escaped.
        path: file system path of the file or archive below the root, as bytes.
        member: name inside the archive, escaped like `source`; empty for plain files.
        etag: modification time in ns; of zip members, their checksum.
    """

    source: str
    path: bytes
    member: str
    size: int
    etag: str
    subject: str | None
    group: str | None = None


@dataclass(frozen=True)
class PassedOver:
    """Something under a root that did not become a source; folders end in `/`."""

    path: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """Sources under a root, sorted by name, and what was passed over.

    Attributes:
        others: ordinary files beside the videos (texts, pictures), counted by ending.
    """

    sources: list[SourceVideo]
    passed_over: list[PassedOver]
    others: dict[str, int]


def describe_passed_over(listing: Listing) -> list[str]:
    """One line for each reason, with the count and the first names, and one for all ordinary files."""
    paths: dict[str, list[str]] = {}
    for item in listing.passed_over:
        paths.setdefault(item.reason, []).append(item.path)
    lines = []
    for reason, found in paths.items():
        first = ", ".join(plain(path, keep="") for path in found[:3]) + (", ..." if len(found) > 3 else "")
        lines.append(f"passed over {len(found)}: {reason}: {first}")
    if listing.others:
        ranked = sorted(listing.others.items(), key=lambda item: (-item[1], item[0]))
        kinds = [
            f"{count} {plain(shown(ending), keep='') or 'without ending'}" for ending, count in ranked[:5]
        ]
        rest = sum(count for _, count in ranked[5:])
        total = sum(listing.others.values())
        lines.append(f"passed over {total} other files: {', '.join(kinds)}{f', {rest} more' if rest else ''}")
    return lines
