"""Ask for what failed to be tried again; the next run of the stages does it. Published files are never touched."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from datagen.common.errors import PERMANENT, REASONS, UserError
from datagen.output.failures import read_failures
from datagen.output.ids import first_unit
from datagen.output.paths import Output
from datagen.pipeline import stages
from datagen.pipeline.door import log_line
from datagen.pipeline.engine import Engine
from datagen.pipeline.footage import Say
from datagen.pipeline.inputs import RunOptions, resume
from datagen.pipeline.retries import Retry, plan_worn, read_retries, record_retry, unfinished
from datagen.pipeline.summary import RunResult, finish
from datagen.plan.parts import read_plan


def retry(
    out: Output, engine: Engine, reasons: Sequence[str] = (), roots: Sequence[str] = (), say: Say = log_line
) -> RunResult:
    """Try failed sources and clips again, as new parts and units.

    Args:
        out: the output.
        engine: who does it.
        reasons: only failures of these reasons; empty takes all that another try can mend.
        roots: `[NAME=]FOLDER`, where the footage lies now, if it has moved.
        say: told how much is tried again, and of warnings.

    Raises:
        UserError: an unknown reason, or nothing to try again.
    """
    inputs = resume(out, RunOptions(), roots, say)
    plan_worn(out)
    asked = plan_retry(out, list(reasons))
    sources = sum(len(keys) for retry in asked for keys in retry.parts.values())
    clips = sum(len(ids) for retry in asked for ids in retry.units.values())
    say(f"trying {sources} sources and {clips} clips again")
    curated = stages.curate(out, inputs, engine, [])
    return finish(out, inputs, [curated], [stages.synthesise(out, inputs, engine)])


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
        open_ones = unfinished(out, retries)
        parts, units, lasting = _failed(out, reasons, open_ones)
        if not parts and not units:
            if open_ones:
                return open_ones
            raise UserError(_nothing(out, reasons, lasting))
        if retry := record_retry(out, retries, parts, units):
            return [*open_ones, retry]


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
