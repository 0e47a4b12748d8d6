"""The grammar of every name in an output: sources, parts, retries, units, shards, clips.

Names are built and parsed only in this file.

p00003            part number 3 of the plan, and the table of its clips
p00003-r2         the same part; retry number 2 curated some of its sources again
p00003-u07        unit number 7 of the part's clips; `p00003-r2-u07` if the part was curated again
p00003-u07-r4     some clips of that unit; retry number 4 made them again
p00003-u07-<16 hex digits of its sha256>.tar     the shard of a unit
<name>-<hash>-t<track>-f<first frame>            a clip; name and hash are those of its source
<clip>.<suffix>   a file of a clip in a shard, such as `<clip>.video.mp4`
w002, r00004      a wave and a retry
w002-0007         some portraits cut for the donor pool of that wave
sources-00001     the second table of the plan
p00003-u07~<hash> further failure rows of that unit
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath

SEPARATOR = "::"
"""Separates archive and member in the name of a source."""

UNIT_NAME = re.compile(r"p\d{5,}(?:-r\d+)?-u\d{2,}(?:-r\d+)?")
SHARD_NAME = re.compile(rf"(?P<unit>{UNIT_NAME.pattern})-(?P<digest>[0-9a-f]{{16}})\.tar")
CLIP_ID = re.compile(r"[a-z0-9_-]+")
SUFFIX = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_TABLE = ".parquet"


def table_name(file: str) -> str:
    """Name of a table: the name of its Parquet file without suffix."""
    return file.removesuffix(_TABLE)


def plan_table(number: int) -> str:
    """Name of a table of the plan; each planning that finds new sources adds one table."""
    return f"sources-{number:05d}"


def plan_table_number(table: str) -> int:
    """Number of a table of the plan, from its name."""
    return int(table.removeprefix("sources-"))


def part_name(number: int) -> str:
    """Name of a part of the plan."""
    return f"p{number:05d}"


def part_of(name: str) -> str:
    """The part of a unit or of a part that was curated again: `p00000` for `p00000-r1` and `p00000-u00`."""
    return name.partition("-")[0]


def part_number(name: str) -> int:
    """Number of `part_of(name)`. Sort by this number: beyond `p99999` names do not sort correctly as text."""
    return int(part_of(name)[1:])


def wave_name(number: int) -> str:
    """Name of a wave."""
    return f"w{number:03d}"


def retry_name(number: int) -> str:
    """Name of a retry."""
    return f"r{number:05d}"


def is_retry(name: str) -> bool:
    """Whether the name of a frozen table is that of a retry, not of a wave."""
    return name.startswith("r")


def again(name: str, retry: int) -> str:
    """New name of a part or unit that a retry makes again."""
    return f"{name}-r{retry}"


def is_again(name: str) -> bool:
    """Whether a retry made this part or unit again, or the part of this unit."""
    return "-r" in name


def retry_of(part: str) -> int:
    """Number of the retry that curated a part again; 0 for the first time."""
    return int(part.rpartition("-r")[2]) if is_again(part) else 0


def unit_name(part: str, number: int) -> str:
    """Name of a unit of a part's clips."""
    return f"{part}-u{number:02d}"


def clip_table_of(unit: str) -> str:
    """The part, or part curated again, whose table holds the clips of a unit."""
    return unit.rpartition("-u")[0]


def first_unit(unit: str) -> str:
    """The unit before any retry: `p00000-u00` for `p00000-u00-r1`."""
    part, _, number = unit.rpartition("-u")
    return f"{part}-u{number.partition('-r')[0]}"


def shard_name(unit: str, sha256: str) -> str:
    """File name of a unit's shard. It contains the hash, so equal names mean equal bytes."""
    return f"{unit}-{sha256[:16]}.tar"


def source_key(
    source: str, person: str = "", start_s: float | None = None, end_s: float | None = None
) -> str:
    """Key of a source: its name, plus person and time range if annotations give them."""
    key = source
    if person:
        key += f"#{person}"
    if start_s is not None or end_s is not None:
        key += f"@{start_s or 0:.3f}-{'' if end_s is None else format(end_s, '.3f')}"
    return key


def key_hash(key: str) -> str:
    """First 8 hex digits of the sha256 of a source key."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def clip_stem(source: str) -> str:
    """Readable start of clip ids: the end of the source's path in `[a-z0-9_-]`, at most 40 characters."""
    path = PurePosixPath(source.replace(SEPARATOR, "/"))
    tail = "_".join([*path.parts[-3:-1], path.stem])
    plain_tail = unicodedata.normalize("NFKD", tail).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", plain_tail).strip("-_")[-40:].strip("-_") or "clip"


def clip_id_of(name: str, key: str, track: int, start: int) -> str:
    """Id of a clip.

    Args:
        name: name of its source; unique in the plan together with the hash of the key.
        key: key of its source.
        track: number of the tracked face in the source.
        start: number of its first frame.
    """
    return f"{name}-{key_hash(key)}-t{track}-f{start}"


def first_frame(clip: str) -> int:
    """Number of a clip's first frame, from its id."""
    return int(clip.rpartition("-f")[2])


def member_name(clip: str, suffix: str) -> str:
    """Name of a clip's file in its shard."""
    return f"{clip}.{suffix}"


def member_suffix(name: str) -> str:
    """`video.mp4` of `<clip>.video.mp4`; clip ids have no dots."""
    return name.partition(".")[2]


def portraits_name(wave: str, number: int) -> str:
    """Name of a table of portraits that were cut for a wave's donor pool."""
    return f"{wave}-{number:04d}"


def portraits_pattern(wave: str) -> str:
    """Glob pattern of the files of these tables."""
    return f"{wave}-*{_TABLE}"


def shards_pattern(unit: str) -> str:
    """Glob pattern of the shards of a unit; it also finds those of its retries, so check with `SHARD_NAME`."""
    return f"{unit}-*.tar"


def more_failures_name(owner: str, digest: str) -> str:
    """Name of an additional failure table of a part or unit, used if the first one holds other rows."""
    return f"{owner}~{digest}"


def failures_owner(name: str) -> str:
    """The part or unit of a failure table."""
    return name.partition("~")[0]
