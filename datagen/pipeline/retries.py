"""Retries of failed sources and clips, and of clips with a withdrawn donor. Published files stay unchanged."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from datagen.common.errors import UserError
from datagen.output.failures import read_failures
from datagen.output.ids import again, first_unit, retry_name
from datagen.output.paths import Output, published_names
from datagen.output.publish import read_table, write_bytes
from datagen.output.store import Store
from datagen.output.tombstones import read_withdrawn


@dataclass(frozen=True)
class Retry:
    """One requested retry, stored in `plan/retries/r00001.json`.

    Attributes:
        number: 1 for the first one; names of its clip tables and units end in `-r1`.
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
        """Number of the attempt in failure rows."""
        return self.number + 1

    @property
    def clip_tables(self) -> list[str]:
        """Names of the clip tables that it makes."""
        return [again(part, self.number) for part in sorted(self.parts)]

    def unit(self, unit: str) -> str:
        """Name of the unit that makes clips of `unit` again."""
        return again(unit, self.number)


def read_retries(out: Output) -> list[Retry]:
    """All requested retries, in order.

    Raises:
        UserError: one cannot be read.
    """
    found = []
    for path in sorted(out.retries.glob("r*.json")):
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            retry = Retry(int(held["number"]), _lists(held["parts"]), _lists(held["units"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is damaged; delete it and run `retry` again") from error
        found.append(retry)
    return sorted(found, key=lambda retry: retry.number)


def plan_remakes(out: Output) -> None:
    """Request a retry for all clips whose donor or style portrait was withdrawn."""
    withdrawn = read_withdrawn(Store.open(out.root))
    while withdrawn.portraits:
        retries = read_retries(out)
        requested = {
            clip for retry in unfinished(out, retries) for clips in retry.units.values() for clip in clips
        }
        columns = ["clip_id", "source", "subject", "donor_sha256", "style_sha256"]
        affected: dict[str, set[str]] = defaultdict(set)
        unaffected: set[str] = set()
        for unit in published_names(out.index):
            for row in read_table(out.index / f"{unit}.parquet", columns).to_pylist():
                if withdrawn.covers(row["source"], row["subject"]):
                    continue
                if withdrawn.covers(None, None, row["donor_sha256"], row["style_sha256"]):
                    affected[first_unit(unit)].add(row["clip_id"])
                else:
                    unaffected.add(row["clip_id"])
        failed = {row["clip_id"] for row in read_failures(out.root).to_pylist() if row["stream"] is None}
        units = {unit: clips - unaffected - requested - failed for unit, clips in affected.items()}
        units = {unit: clips for unit, clips in units.items() if clips}
        if not units or record_retry(out, retries, {}, units):
            return


def record_retry(
    out: Output, retries: list[Retry], parts: dict[str, set[str]], units: dict[str, set[str]]
) -> Retry | None:
    """Publish a new retry; None if another command published one at the same time."""
    number = max((retry.number for retry in retries), default=0) + 1
    retry = Retry(number, _sorted(parts), _sorted(units))
    data = json.dumps(asdict(retry), indent=1, sort_keys=True).encode()
    return retry if write_bytes(data, out.retries / f"{retry.name}.json", out.tmp) else None


def unfinished(out: Output, retries: list[Retry]) -> list[Retry]:
    """Retries with a clip table or unit that is not published yet."""
    clip_tables, units = published_names(out.clips), published_names(out.index)
    frozen = published_names(out.waves)
    found = []
    for retry in retries:
        done = clip_tables.issuperset(retry.clip_tables) and units.issuperset(map(retry.unit, retry.units))
        if done and retry.parts:
            done = retry.name in frozen and units.issuperset(
                read_table(out.waves / f"{retry.name}.parquet", ["unit"])["unit"].to_pylist()
            )
        if not done:
            found.append(retry)
    return found


def _sorted(groups: dict[str, set[str]]) -> dict[str, list[str]]:
    return {name: sorted(groups[name]) for name in sorted(groups)}


def _lists(value: Any) -> dict[str, list[str]]:
    """Parts or units and their items; those that a purge emptied are skipped."""
    return {str(name): [str(item) for item in items] for name, items in value.items() if items}
