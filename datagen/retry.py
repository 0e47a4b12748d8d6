"""Ask for another try at what failed; published files are never touched."""

from __future__ import annotations

import json
from dataclasses import asdict

import pyarrow.parquet as pq

from datagen.errors import REASONS, UserError
from datagen.inspecting import read_failures
from datagen.layout import Output
from datagen.publish import write_bytes
from datagen.tasks import Retry, read_retries


def plan_retry(out: Output, reasons: list[str]) -> Retry:
    """Record which failed sources and clips are to be tried again; the next run of the stages does it.

    Args:
        reasons: only failures of these reasons; empty takes all.

    Raises:
        UserError: an unknown reason, or nothing to try again.
    """
    for reason in reasons:
        if reason not in REASONS:
            raise UserError(
                f"--reason {reason}: not a failure reason; choose from {', '.join(REASONS)}", code=2
            )
    parts: dict[str, set[str]] = {}
    units: dict[str, set[str]] = {}
    for row in read_failures(out.root).to_pylist():
        if row["stream"] is not None or (reasons and row["reason"] not in reasons):
            continue
        if row["unit"] is None:
            parts.setdefault(row["part"], set()).add(row["source"])
        else:
            units.setdefault(_planned_unit(row["unit"]), set()).add(row["clip_id"])
    if not parts and not units:
        raise UserError(
            f"nothing to try again in {out.root}" + (f" for {', '.join(reasons)}" if reasons else "")
        )
    number = len(read_retries(out)) + 1
    retry = Retry(
        number,
        {part: sorted(_source_keys(out, part, sources)) for part, sources in sorted(parts.items())},
        {unit: sorted(clips) for unit, clips in sorted(units.items())},
    )
    data = json.dumps(asdict(retry), indent=1, sort_keys=True).encode()
    if not write_bytes(data, out.retries / f"r{number:05d}.json", out.tmp):
        raise UserError("another retry was asked for at the same moment; run the command again")
    return retry


def _planned_unit(unit: str) -> str:
    """The unit that was first tried: `p00000-u00` of `p00000-u00-r1`."""
    head, _, tail = unit.rpartition("-u")
    return f"{head}-u{tail.partition('-r')[0]}"


def _source_keys(out: Output, part: str, sources: set[str]) -> set[str]:
    keys: set[str] = set()
    for path in sorted(out.plan.glob("sources-*.parquet")):
        table = pq.read_table(path, columns=["part", "source", "source_key"], filters=[("part", "=", part)])
        keys.update(row["source_key"] for row in table.to_pylist() if row["source"] in sources)
    return keys
