"""Summary of a run for the user: numbers, what was left out and why, what to look at next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from datagen.common.errors import UserError
from datagen.inspect.cards import write_cards
from datagen.inspect.contact_sheet import save_sheet
from datagen.output.failures import failures_by_reason, read_failures
from datagen.output.paths import Output, published_names
from datagen.output.publish import read_table, read_tables
from datagen.output.store import Store
from datagen.output.tombstones import Tombstones
from datagen.pipeline.progress import RunProgress
from datagen.pipeline.run_record import RunInputs
from datagen.plan.parts import read_plan
from datagen.plan.waves import read_waves
from datagen.shards.reader import Dataset

SHEET_CLIPS = 8


@dataclass(frozen=True)
class RunResult:
    """Result of a run.

    Attributes:
        out: folder of the data set.
        clips, frames: numbers of the whole data set, without withdrawn clips.
        sources: number of source videos that were curated.
        failed_sources: number of these that gave no clip.
        left_out: number of sources and clips that are left out, by reason.
        waiting: what must be curated before more clips can be made; empty if all is done.
        text: summary for people, several lines.
    """

    out: Path
    clips: int
    frames: int
    sources: int
    failed_sources: int
    left_out: dict[str, int]
    waiting: str
    text: str

    def exit_code(self, max_failed: float) -> int:
        """Exit code: 3 if a larger share of the sources failed, 1 if no clip is usable, else 0."""
        return exit_code(self.sources, self.failed_sources, self.clips, max_failed)


def finish(
    out: Output, inputs: RunInputs, curated: Sequence[RunProgress], made: Sequence[RunProgress]
) -> RunResult:
    """Write the contact sheet and the cards of the data set, and sum up the run.

    Raises:
        UserError: there is no usable clip; the message gives the most frequent reasons.
    """
    failures = read_failures(out.root)
    waiting = _waiting(out)
    dataset = Dataset(out.root) if published_names(out.index) else None
    if dataset is None or not len(dataset):
        why = waiting or _reasons(failures) or "there was no source"
        raise UserError(f"{out.root} has no usable clip: {why}")
    refresh(out)
    lines = list(_lines(out, inputs, dataset, failures, curated, made))
    if waiting:
        lines.append(f"  waiting     {waiting}")
    sources, failed = _failed_sources(out, failures)
    return RunResult(
        out=out.root,
        clips=len(dataset),
        frames=sum(dataset.table["frames"].to_pylist()),
        sources=sources,
        failed_sources=failed,
        left_out=failures_by_reason(Store.open(out.root)),
        waiting=waiting,
        text="\n".join(lines),
    )


def refresh(out: Output) -> None:
    """Write contact sheet and cards without withdrawn clips; repeat if tombstones were added in the meantime."""
    tombstones = Tombstones(Store.open(out.root))
    while published_names(out.index):
        tombstones.read()
        try:
            dataset = Dataset(out.root)
            if len(dataset):
                save_sheet(dataset, _pick(dataset), out.root / "sheet.png")
            else:
                (out.root / "sheet.png").unlink(missing_ok=True)
            write_cards(out, dataset)
        except UserError:  # for example, a clip was withdrawn before it was drawn
            if not tombstones.changed():
                raise
        if not tombstones.changed():
            return


def _waiting(out: Output) -> str:
    """Which waves wait for parts: clips of a wave are made only when all its parts are curated."""
    clip_tables = published_names(out.clips)
    lines = [
        f"wave {wave.name} waits for {sum(part not in clip_tables for part in wave.parts)} of {len(wave.parts)} parts"
        for wave in read_waves(out)
        if not wave.is_curated(clip_tables)
    ]
    if not lines:
        return ""
    more = f" and {len(lines) - 1} more waves wait" if len(lines) > 1 else ""
    return f"{lines[0]}{more}; continue with `run` or `curate`"


def _failed_sources(out: Output, failures: pa.Table) -> tuple[int, int]:
    """Number of sources that were curated, and of those that gave no clip."""
    clip_tables = published_names(out.clips)
    plan = read_plan(out, ["part", "source"])
    tried = {
        source
        for part, source in zip(plan["part"].to_pylist(), plan["source"].to_pylist(), strict=True)
        if part in clip_tables
    }
    good = set(read_tables(out.clips, ["source"])["source"].to_pylist())
    failed = {
        source
        for source, stream in zip(failures["source"].to_pylist(), failures["stream"].to_pylist(), strict=True)
        if stream is None
    }
    return len(tried), len((failed & tried) - good)


def exit_code(sources: int, failed_sources: int, usable_clips: int, max_failed: float) -> int:
    """Exit code of a run that was not interrupted.

    Args:
        sources: number of source videos that were curated.
        failed_sources: number of these that gave no clip and have a failure row.
        usable_clips: number of clips that readers may see.
        max_failed: largest share of the sources that may fail, 0 to 1.

    Returns:
        0 success, 1 no usable clip, 3 finished but more than `max_failed` of the sources failed.
    """
    if not usable_clips:
        return 1
    return 3 if sources and failed_sources / sources > max_failed else 0


@dataclass(frozen=True)
class CurationResult:
    """Result of curation so far.

    Attributes:
        clips, frames: numbers in all clip tables.
        sources: number of source videos that were curated.
        failed_sources: number of those that gave no clip.
        left_out: number of sources and clips that are left out, by reason.
        text: summary for people, one line.
    """

    clips: int
    frames: int
    sources: int
    failed_sources: int
    left_out: dict[str, int]
    text: str


def describe_curation(out: Output) -> CurationResult:
    """Sum up the clip tables."""
    clips = read_tables(out.clips, ["frames", "source"])
    failures = read_failures(out.root)
    frames = clips.column("frames").to_pylist()
    sources, failed = _failed_sources(out, failures)
    used = len(set(clips["source"].to_pylist()))
    text = (
        f"{len(frames)} clips, {sum(frames)} frames, from {used} sources; "
        f"left out: {_reasons(failures) or 'nothing'}"
    )
    return CurationResult(
        clips=len(frames),
        frames=sum(frames),
        sources=sources,
        failed_sources=failed,
        left_out=failures_by_reason(Store.open(out.root)),
        text=text,
    )


def _lines(
    out: Output,
    inputs: RunInputs,
    dataset: Dataset,
    failures: pa.Table,
    curated: Sequence[RunProgress],
    made: Sequence[RunProgress],
) -> Iterable[str]:
    table = dataset.table
    frames = sum(table["frames"].to_pylist())
    seconds = sum(f / r for f, r in zip(table["frames"].to_pylist(), table["fps"].to_pylist(), strict=True))
    sources = read_plan(out).num_rows
    used = len(set(table["source"].to_pylist()))
    splits = Counter(table["split"].to_pylist())
    yield ""
    yield f"{out.root}: {len(dataset)} clips, {frames} frames, {seconds:.0f} s of video"
    divided = ", ".join(f"{name} {count}" for name, count in sorted(splits.items()))
    yield f"  sources     {used} of {sources} gave clips; splits {divided}"
    yield f"  left out    {_reasons(failures) or 'nothing'}"
    yield from _synthesis(table)
    for name, stages in (("curate", curated), ("synthesise", made)):
        frames = sum(progress.totals.get("frames", 0) for progress in stages)
        elapsed = sum(progress.elapsed_s for progress in stages)
        if frames:
            yield f"  {name:<11} {frames / max(elapsed, 1e-9):.1f} frames/s over {elapsed:.0f} s"
    spent: Counter[str] = Counter()
    for progress in made:
        spent.update(progress.totals.get("seconds", {}))
    if spent:
        per = 100 / max(sum(progress.totals.get("frames", 0) for progress in made), 1)
        parts = ", ".join(f"{name} {value * per:.2f}" for name, value in spent.most_common())
        yield f"  operations  seconds per 100 frames: {parts}"
    rejected = _rejected_donors(out)
    if rejected:
        yield f"  donors      not used: {rejected}"
    yield f"  recipe      {inputs.hash[:16]}"
    yield f"  look at     {out.root / 'sheet.png'}"
    yield f"              megactor-datagen inspect {out.root}"
    yield f"              megactor-datagen verify {out.root}"
    if failures.num_rows:
        yield f"              megactor-datagen failures {out.root}"


def _synthesis(table: pa.Table) -> Iterable[str]:
    swapped = np.array([name is not None for name in table["swapper"].to_pylist()])
    styled = np.array([name is not None for name in table["stylist"].to_pylist()])
    if swapped.any():
        to_source, to_donor = _mean(table, "identity_to_source"), _mean(table, "identity_to_donor")
        yield (
            f"  swapped     {swapped.sum()} clips; identity distance to the source {to_source:.2f} "
            f"(same person < 0.6), to the donor {to_donor:.2f}"
        )
        yield f"              {_motion(table, 'swapped')}"
    if styled.any():
        yield f"  styled      {styled.sum()} clips; {_motion(table, 'styled')}"
    for stream, column in (("swap", "swap_refused"), ("style", "style_refused")):
        refused = Counter(text.split(":")[0] for text in table[column].to_pylist() if text)
        if refused:
            yield f"  no {stream:<8} {', '.join(f'{reason} {count}' for reason, count in refused.most_common())}"


def _motion(table: pa.Table, stream: str) -> str:
    return (
        f"motion kept: head pose within {_mean(table, f'{stream}_pose_rms'):.1f} degrees RMS, "
        f"mouth {_mean(table, f'{stream}_mouth_rms'):.3f}, eyes {_mean(table, f'{stream}_eyes_rms'):.3f}; "
        f"flicker {_mean(table, f'{stream}_flicker'):.2f} times the source's"
    )


def _mean(table: pa.Table, column: str) -> float:
    values = [value for value in table[column].to_pylist() if value is not None]
    return float(np.mean(values)) if values else float("nan")


def _reasons(failures: pa.Table) -> str:
    counts = Counter(
        reason
        for reason, stream in zip(failures["reason"].to_pylist(), failures["stream"].to_pylist(), strict=True)
        if stream is None
    )
    return ", ".join(f"{reason} {count}" for reason, count in counts.most_common())


def _pick(dataset: Dataset) -> list[str]:
    """Clips for the contact sheet: one per source first; clips with all streams before others."""
    rows = dataset.table.select(["clip_id", "source", "swapper", "stylist"]).to_pylist()
    rows.sort(key=lambda row: (row["swapper"] is None) + (row["stylist"] is None))
    seen: Counter[str] = Counter()
    ranked = []
    for row in rows:
        ranked.append((seen[row["source"]], row["clip_id"]))
        seen[row["source"]] += 1
    return [clip_id for _, clip_id in sorted(ranked, key=lambda item: item[0])][:SHEET_CLIPS]


def _rejected_donors(out: Output) -> str:
    reasons: Counter[str] = Counter()
    for path in sorted(out.donors.glob("*.parquet")):
        reasons.update(filter(None, read_table(path, ["reason"])["reason"].to_pylist()))
    return ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
