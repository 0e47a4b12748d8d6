"""Retry failed sources and clips. Published files stay unchanged."""

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
from datagen.pipeline.retries import Retry, plan_remakes, read_retries, record_retry, unfinished
from datagen.pipeline.summary import RunResult, finish
from datagen.plan.parts import read_plan


def retry(
    out: Output, engine: Engine, reasons: Sequence[str] = (), roots: Sequence[str] = (), say: Say = log_line
) -> RunResult:
    """Try failed sources and clips again, as new parts and units.

    Args:
        out: the output.
        engine: what runs the tasks.
        reasons: only failures with these reasons; empty takes all that another try can fix.
        roots: `[NAME=]FOLDER`, new folders of footage that has moved.
        say: called with the number of sources and clips, and with warnings.

    Raises:
        UserError: an unknown reason, or nothing to try again.
    """
    inputs = resume(out, RunOptions(), roots, say)
    plan_remakes(out)
    retries = plan_retry(out, list(reasons))
    sources = sum(len(keys) for retry in retries for keys in retry.parts.values())
    clips = sum(len(ids) for retry in retries for ids in retry.units.values())
    say(f"trying {sources} sources and {clips} clips again")
    curated = stages.curate(out, inputs, engine, [])
    return finish(out, inputs, [curated], [stages.synthesise(out, inputs, engine)])


def plan_retry(out: Output, reasons: list[str]) -> list[Retry]:
    """Record which failed sources and clips are tried again; the next run of the stages does it.

    Sources and clips of an unfinished retry are not recorded twice.

    Args:
        out: the output.
        reasons: only failures with these reasons; empty takes all that another try can fix.

    Returns:
        The retries to do now: unfinished ones, and a new one if there is something new.

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
        open_retries = unfinished(out, retries)
        parts, units, permanent = _failed(out, reasons, open_retries)
        if not parts and not units:
            if open_retries:
                return open_retries
            raise UserError(_nothing(out, reasons, permanent))
        if retry := record_retry(out, retries, parts, units):
            return [*open_retries, retry]


def _failed(
    out: Output, reasons: list[str], open_retries: Iterable[Retry]
) -> tuple[dict[str, set[str]], dict[str, set[str]], Counter[str]]:
    """Failed sources by part, failed clips by unit, and the number of permanent failures by reason.

    Sources and clips of open retries are left out.
    """
    requested_sources = {key for retry in open_retries for keys in retry.parts.values() for key in keys}
    requested_clips = {clip for retry in open_retries for clips in retry.units.values() for clip in clips}
    parts: dict[str, set[str]] = defaultdict(set)
    units: dict[str, set[str]] = defaultdict(set)
    sources: dict[str, set[str]] = defaultdict(set)
    permanent: Counter[str] = Counter()
    for row in read_failures(out.root).to_pylist():
        if row["stream"] is not None or (reasons and row["reason"] not in reasons):
            continue
        if not reasons and row["reason"] in PERMANENT:
            permanent[row["reason"]] += 1
        elif row["unit"] is None:
            sources[row["part"]].add(row["source"])
        elif row["clip_id"] not in requested_clips:
            units[first_unit(row["unit"])].add(row["clip_id"])
    if sources:
        for row in read_plan(out, ["part", "source", "source_key"]).to_pylist():
            if row["source"] in sources.get(row["part"], ()) and row["source_key"] not in requested_sources:
                parts[row["part"]].add(row["source_key"])
    return parts, units, permanent


def _nothing(out: Output, reasons: list[str], permanent: Counter[str]) -> str:
    text = f"nothing to try again in {out.root}" + (f" for {', '.join(reasons)}" if reasons else "")
    if permanent:
        counted = ", ".join(f"{reason} {count}" for reason, count in permanent.most_common())
        text += f"; another try cannot change {counted}: name them with --reason after changing the footage"
    return text
