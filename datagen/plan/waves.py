"""Waves: consecutive parts of the plan whose groups, splits and donors are frozen together.

`plan/waves/w000.json` says which parts a wave holds and is written before the first of them is curated. A limit cuts a
small wave. Same waves, same bytes: nothing of a wave depends on parts that are not in it or in an earlier one.
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
    """Parts number `first` to `last` of the plan."""

    name: str
    first: int
    last: int

    @property
    def parts(self) -> list[str]:
        """Names of its parts, in order."""
        return [part_name(number) for number in range(self.first, self.last + 1)]

    def holds(self, piece: str) -> bool:
        """Whether a part, or a part that was curated again, belongs to it."""
        return self.first <= part_number(piece) <= self.last

    def is_curated(self, pieces: set[str]) -> bool:
        """Whether the clip table has a piece for each of its parts."""
        return all(part in pieces for part in self.parts)


def read_waves(out: Output) -> list[Wave]:
    """The waves that were cut, in order.

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
    """Cut the planned parts that no wave holds yet into waves, and return all waves.

    Two drivers may cut at once: the first one's wave stands and the other goes on behind it.

    Args:
        out: the output.
        plan: all planned sources.
        most: sources of one wave, whole parts always and at least one.
        limit: sources to cut now; None cuts all.
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


def wave_of(waves: list[Wave], piece: str) -> Wave:
    """The wave a piece of the clip table belongs to.

    Raises:
        UserError: none does.
    """
    for wave in waves:
        if wave.holds(piece):
            return wave
    raise UserError(f"no wave holds part {piece}; its record is missing under plan/waves")
