"""Try again: what failed and is asked for, and clips that wear a withdrawn face. Published files are never touched."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from datagen.common.errors import PERMANENT, REASONS, UserError
from datagen.inspect.query import read_failures
from datagen.output.ids import again, first_unit, retry_name
from datagen.output.paths import Output, published_names
from datagen.output.publish import read_table, write_bytes
from datagen.output.store import Store
from datagen.output.tombstones import read_withdrawn
from datagen.plan.parts import read_plan


@dataclass(frozen=True)
class Retry:
    """One call for another try, `plan/retries/r00001.json`.

    Attributes:
        number: 1 for the first; names of its pieces and units end in `-r1`.
        parts: part -> source keys to curate again.
        units: unit -> clip ids to make again.
    """

    number: int
    parts: dict[str, list[str]]
    units: dict[str, list[str]]

    @property
    def name(self) -> str:
        """Name of its files."""
        return retry_name(self.number)

    @property
    def attempt(self) -> int:
        """Attempt number in failure rows."""
        return self.number + 1

    @property
    def pieces(self) -> list[str]:
        """Pieces of the clip table that it makes."""
        return [again(part, self.number) for part in sorted(self.parts)]

    def unit(self, unit: str) -> str:
        """Name of the unit that makes clips of `unit` again."""
        return again(unit, self.number)


def read_retries(out: Output) -> list[Retry]:
    """All retries asked for, in order.

    Raises:
        UserError: one cannot be read.
    """
    found = []
    for path in sorted(out.retries.glob("r*.json")):
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            retry = Retry(int(held["number"]), _lists(held["parts"]), _lists(held["units"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is damaged; delete it and say `retry` again for what failed") from error
        found.append(retry)
    return sorted(found, key=lambda retry: retry.number)


def plan_retry(out: Output, reasons: list[str]) -> list[Retry]:
    """Record which failed sources and clips are to be tried again; the next run of the stages does it.

    What an earlier call asked for and is not done yet is not asked for twice.

    Args:
        out: the output.
        reasons: only failures of these reasons; empty takes all that another try can mend.

    Returns:
        The retries that are to be done now: a new one, and those not finished.

    Raises:
        UserError: an unknown reason, or nothing to try again.
    """
    for reason in reasons:
        if reason not in REASONS:
            raise UserError(
                f"--reason {reason}: not a failure reason; choose from {', '.join(REASONS)}", code=2
            )
    while True:
        retries = read_retries(out)
        open_ones = _unfinished(out, retries)
        parts, units, lasting = _failed(out, reasons, open_ones)
        if not parts and not units:
            if open_ones:
                return open_ones
            raise UserError(_nothing(out, reasons, lasting))
        if retry := _record(out, retries, parts, units):
            return [*open_ones, retry]


def plan_worn(out: Output) -> None:
    """Ask for the clips that wear a withdrawn face, or took their style from one, to be made again."""
    withdrawn = read_withdrawn(Store.open(out.root))
    while withdrawn.portraits:
        retries = read_retries(out)
        asked = {
            clip for retry in _unfinished(out, retries) for clips in retry.units.values() for clip in clips
        }
        columns = ["clip_id", "source", "subject", "donor_sha256", "style_sha256"]
        worn: dict[str, set[str]] = defaultdict(set)
        shown: set[str] = set()
        for unit in published_names(out.index):
            for row in read_table(out.index / f"{unit}.parquet", columns).to_pylist():
                if withdrawn.covers(row["source"], row["subject"]):
                    continue
                if withdrawn.covers(None, None, row["donor_sha256"], row["style_sha256"]):
                    worn[first_unit(unit)].add(row["clip_id"])
                else:
                    shown.add(row["clip_id"])
        failed = {row["clip_id"] for row in read_failures(out.root).to_pylist() if row["stream"] is None}
        units = {unit: clips - shown - asked - failed for unit, clips in worn.items()}
        units = {unit: clips for unit, clips in units.items() if clips}
        if not units or _record(out, retries, {}, units):
            return


def _record(
    out: Output, retries: list[Retry], parts: dict[str, set[str]], units: dict[str, set[str]]
) -> Retry | None:
    """Publish one more retry; None when another command published one at the same moment."""
    number = max((retry.number for retry in retries), default=0) + 1
    retry = Retry(number, _sorted(parts), _sorted(units))
    data = json.dumps(asdict(retry), indent=1, sort_keys=True).encode()
    return retry if write_bytes(data, out.retries / f"{retry.name}.json", out.tmp) else None


def _unfinished(out: Output, retries: list[Retry]) -> list[Retry]:
    """Retries with a piece or unit that is not published."""
    pieces, units = published_names(out.clips), published_names(out.index)
    frozen = published_names(out.waves)
    found = []
    for retry in retries:
        done = pieces.issuperset(retry.pieces) and units.issuperset(map(retry.unit, retry.units))
        if done and retry.parts:
            done = retry.name in frozen and units.issuperset(
                read_table(out.waves / f"{retry.name}.parquet", ["unit"])["unit"].to_pylist()
            )
        if not done:
            found.append(retry)
    return found


def _failed(
    out: Output, reasons: list[str], open_ones: Iterable[Retry]
) -> tuple[dict[str, set[str]], dict[str, set[str]], Counter[str]]:
    """Failed sources by part and clips by unit that nobody asked for yet, and what is left out since it is lasting."""
    asked_sources = {key for retry in open_ones for keys in retry.parts.values() for key in keys}
    asked_clips = {clip for retry in open_ones for clips in retry.units.values() for clip in clips}
    parts: dict[str, set[str]] = defaultdict(set)
    units: dict[str, set[str]] = defaultdict(set)
    sources: dict[str, set[str]] = defaultdict(set)
    lasting: Counter[str] = Counter()
    for row in read_failures(out.root).to_pylist():
        if row["stream"] is not None or (reasons and row["reason"] not in reasons):
            continue
        if not reasons and row["reason"] in PERMANENT:
            lasting[row["reason"]] += 1
        elif row["unit"] is None:
            sources[row["part"]].add(row["source"])
        elif row["clip_id"] not in asked_clips:
            units[first_unit(row["unit"])].add(row["clip_id"])
    if sources:
        for row in read_plan(out, ["part", "source", "source_key"]).to_pylist():
            if row["source"] in sources.get(row["part"], ()) and row["source_key"] not in asked_sources:
                parts[row["part"]].add(row["source_key"])
    return parts, units, lasting


def _nothing(out: Output, reasons: list[str], lasting: Counter[str]) -> str:
    text = f"nothing to try again in {out.root}" + (f" for {', '.join(reasons)}" if reasons else "")
    if lasting:
        counted = ", ".join(f"{reason} {count}" for reason, count in lasting.most_common())
        text += f"; another try cannot change {counted}: name them with --reason after changing the footage"
    return text


def _sorted(groups: dict[str, set[str]]) -> dict[str, list[str]]:
    return {name: sorted(groups[name]) for name in sorted(groups)}


def _lists(value: Any) -> dict[str, list[str]]:
    """Names and what they list; those that a purge emptied are passed over."""
    return {str(name): [str(item) for item in items] for name, items in value.items() if items}
