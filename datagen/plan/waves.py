"""Waves: consecutive parts of the plan whose groups, splits and donors are frozen together.

`plan/waves/w000.json` says which parts a wave holds; it is written before the first of them is curated. A limit makes a
small wave. Same waves, same bytes: a wave depends only on its own parts and on those of earlier waves.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

import pyarrow as pa

from datagen.common.errors import UserError
from datagen.output.ids import part_name, part_number, wave_name
from datagen.output.paths import Output, published_names
from datagen.output.publish import write_bytes


@dataclass(frozen=True)
class Wave:
    """The parts with numbers `first` to `last` of the plan."""

    name: str
    first: int
    last: int

    @property
    def parts(self) -> list[str]:
        """Names of its parts, in order."""
        return [part_name(number) for number in range(self.first, self.last + 1)]

    def holds(self, clip_table: str) -> bool:
        """Whether a clip table, of a part or of a part that was curated again, belongs to this wave."""
        return self.first <= part_number(clip_table) <= self.last

    def is_curated(self, clip_tables: set[str]) -> bool:
        """Whether each of its parts has a clip table."""
        return all(part in clip_tables for part in self.parts)


def read_waves(out: Output) -> list[Wave]:
    """All waves that were made, in order.

    Raises:
        UserError: one cannot be read.
    """
    waves = []
    for number in range(len(published_names(out.waves, ".json"))):
        path = out.waves / f"{wave_name(number)}.json"
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            waves.append(Wave(path.stem, int(held["first"]), int(held["last"])))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is missing or damaged; restore it or use a new --output") from error
    return waves


def cut_waves(out: Output, plan: pa.Table, most: int, limit: int | None = None) -> list[Wave]:
    """Divide the planned parts that belong to no wave yet into waves, and return all waves.

    Two drivers may do this at the same time: the first one's wave is kept and the other continues after it.

    Args:
        out: the output.
        plan: all planned sources.
        most: largest number of sources in a wave; a wave holds whole parts, at least one.
        limit: number of sources to put into waves now; None takes all.
    """
    sizes = Counter(map(part_number, plan.column("part").to_pylist()))
    waves = read_waves(out)
    left = sum(sizes.values()) if limit is None else limit
    while left > 0:
        first = waves[-1].last + 1 if waves else 0
        if first > max(sizes, default=-1):
            break
        last, sources = first, sizes[first]
        while last + 1 in sizes and sources < left and sources + sizes[last + 1] <= most:
            last += 1
            sources += sizes[last]
        wave = Wave(wave_name(len(waves)), first, last)
        data = json.dumps({"first": first, "last": last}, sort_keys=True).encode()
        if write_bytes(data, out.waves / f"{wave.name}.json", out.tmp):
            left -= sources
        waves = read_waves(out)
    return waves


def wave_of(waves: list[Wave], clip_table: str) -> Wave:
    """The wave that a clip table belongs to.

    Raises:
        UserError: none does.
    """
    for wave in waves:
        if wave.holds(clip_table):
            return wave
    raise UserError(f"no wave holds part {clip_table}; its file under plan/waves is missing")
