"""What is still to do: the plan minus the published files. No database and no lock; a resume just asks again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from datagen.output.ids import again, clip_table_of, is_retry, part_of, portraits_name, retry_of
from datagen.output.paths import Output, published_names
from datagen.output.publish import read_table
from datagen.output.schema import PLAN, Row
from datagen.output.store import Store
from datagen.output.tombstones import Withdrawn, read_withdrawn
from datagen.pipeline.retries import Retry, read_retries
from datagen.plan.groups import CONFLICT
from datagen.plan.parts import read_plan
from datagen.plan.tasks import CurateTask, PortraitCut, PortraitTask, StageTask, SynthesiseTask
from datagen.plan.waves import Wave, read_waves, wave_of
from datagen.recipe import Recipe

PORTRAITS_PER_TASK = 8
BYTES_PER_FRAME = 4_000  # typical of compressed sources (25 fps at 0.8 Mbit/s); used only for time limits

FROZEN = ("piece", "unit", "clip_id", "source", "source_key", "subject", "frames", "person", "duplicate_of")
FROZEN_COLUMNS = [*FROZEN, "split", "rank"]


T = TypeVar("T", bound=StageTask, covariant=True)


@dataclass(frozen=True)
class Pending(Generic[T]):
    """Tasks that are not done yet.

    Attributes:
        tasks: the tasks in order, made one by one.
        count: number of these tasks.
        total: number of all tasks, including those that are done.
    """

    tasks: Iterable[T]
    count: int
    total: int


def rows_by_part(plan: pa.Table, parts: set[str]) -> dict[str, list[Row]]:
    """Plan rows of some parts, by part."""
    chosen = plan.filter(pc.is_in(plan.column("part"), pa.array(sorted(parts), pa.string())))
    grouped: dict[str, list[Row]] = {part: [] for part in parts}
    for row in chosen.to_pylist():
        grouped[row["part"]].append(row)
    return grouped


def curate_tasks(
    out: Output,
    recipe: Recipe,
    waves: list[Wave],
    limit: int | None = None,
    *,
    retries: bool = True,
    only: set[str] | None = None,
) -> Pending[CurateTask]:
    """Tasks for the parts of some waves that are not curated yet, and for parts of retries.

    Args:
        out: the output.
        recipe: has the time limits.
        waves: waves whose parts are curated.
        limit: take whole parts until they hold at least this many sources; None takes all.
        retries: include parts of retries.
        only: names of clip tables to make even if they are published; None takes all that are not published.
    """
    plan = read_plan(out)
    done = published_names(out.clips)

    def wanted(clip_table: str) -> bool:
        return clip_table in only if only is not None else clip_table not in done

    parts = [part for wave in waves for part in wave.parts]
    pending = [part for part in parts if wanted(part)]
    requested = [
        (retry, part, again(part, retry.number))
        for retry in (read_retries(out) if retries else ())
        for part in sorted(retry.parts)
    ]
    pending_again = [item for item in requested if wanted(item[2])]
    rows = rows_by_part(plan, {*pending, *(part for _, part, _ in pending_again)})
    if limit is not None:
        pending = _first_parts(pending, rows, limit)
    withdrawn = read_withdrawn(Store.open(out.root))
    tasks = [_curate_task(part, part, _not_withdrawn(rows[part], withdrawn), recipe) for part in pending]
    for retry, part, clip_table in pending_again:
        chosen = [row for row in rows[part] if row["source_key"] in retry.parts[part]]
        known = _clip_ids(out, part, before=clip_table)
        rest = _not_withdrawn(chosen, withdrawn)
        tasks.append(_curate_task(part, clip_table, rest, recipe, retry.attempt, known))
    return Pending(tasks, len(tasks), len(parts) + len(requested))


def portrait_tasks(out: Output, name: str, chosen: list[Row], recipe: Recipe) -> Pending[PortraitTask]:
    """Tasks that cut the portraits of a wave's donors from the footage, a few in each task."""
    withdrawn = read_withdrawn(Store.open(out.root))
    wanted = [
        row
        for row in chosen
        if row.get("clip_id")
        and row["reason"] is None
        and not withdrawn.covers(row["source"], row["subject"])
    ]
    groups = [wanted[at : at + PORTRAITS_PER_TASK] for at in range(0, len(wanted), PORTRAITS_PER_TASK)]
    done = published_names(out.portraits)
    plan = rows_by_part(read_plan(out), {part_of(row["piece"]) for row in wanted})
    sources = {row["source_key"]: row for rows in plan.values() for row in rows}
    tasks = []
    for number, group in enumerate(groups):
        task = portraits_name(name, number)
        if task not in done:
            cuts = [_cut(out, row, sources) for row in group]
            frames = sum(cut.clip["donor_frame"] for cut in cuts)
            tasks.append(PortraitTask(name=task, cuts=cuts, limit_s=_limit_s(recipe, frames)))
    return Pending(tasks, len(tasks), len(groups))


def frozen_units(out: Output, name: str, columns: list[str]) -> dict[str, list[Row]]:
    """Unit -> its rows, for the units of a frozen wave or retry, in order."""
    units: dict[str, list[Row]] = {}
    for row in read_table(out.waves / f"{name}.parquet", columns).to_pylist():
        units.setdefault(row["unit"], []).append(row)
    return units


def synthesise_tasks(out: Output, recipe: Recipe, only: set[str] | None = None) -> Pending[SynthesiseTask]:
    """Tasks for units of frozen waves that are not published yet, and for units of retries.

    Args:
        out: the output.
        recipe: has the time limits.
        only: units to make even if they are published; None takes all that are not published.
    """
    done = published_names(out.index)
    frozen = sorted(published_names(out.waves), key=lambda name: (is_retry(name), name))
    listed = {name: list(frozen_units(out, name, ["unit"])) for name in frozen}
    retries = [retry for retry in read_retries(out) if retry.units]
    requested = {retry.unit(unit): (retry, unit) for retry in retries for unit in retry.units}

    def wanted(unit: str) -> bool:
        return unit in only if only is not None else unit not in done

    pending = {name: [unit for unit in units if wanted(unit)] for name, units in listed.items()}
    pending_again = {unit: item for unit, item in requested.items() if wanted(unit)}
    wave_of_unit = {unit: name for name, units in listed.items() for unit in units}

    def make() -> Iterator[SynthesiseTask]:
        withdrawn = read_withdrawn(Store.open(out.root))
        waves = read_waves(out)
        plan = read_plan(out)
        for name in frozen:
            remakes = {
                unit: item for unit, item in pending_again.items() if wave_of_unit.get(item[1]) == name
            }
            if not pending[name] and not remakes:
                continue
            units = frozen_units(out, name, FROZEN_COLUMNS)
            parts = {part_of(unit) for unit in (*pending[name], *remakes)}
            sources = {row["source_key"]: row for rows in rows_by_part(plan, parts).values() for row in rows}
            for unit in pending[name]:
                later = clips_of_later_retries(retries, unit, 0)
                chosen = [row for row in units[unit] if row["clip_id"] not in later]
                yield _unit_task(unit, chosen, 1, sources, waves, withdrawn, recipe)
            for unit, (retry, first) in remakes.items():
                wanted_clips = set(retry.units[first]) - clips_of_later_retries(retries, first, retry.number)
                chosen = [row for row in units[first] if row["clip_id"] in wanted_clips]
                yield _unit_task(unit, chosen, retry.attempt, sources, waves, withdrawn, recipe)

    count = sum(map(len, pending.values())) + len(pending_again)
    return Pending(make(), count, sum(map(len, listed.values())) + len(requested))


def clips_of_later_retries(retries: list[Retry], unit: str, number: int) -> set[str]:
    """Clips of a unit that retries with a higher number make again.

    If several retries name a clip, only the last one makes it. Therefore, a lost unit that is made again does not make
    clips that belong to the unit of a later retry.
    """
    return {clip for retry in retries if retry.number > number for clip in retry.units.get(unit, ())}


def _limit_s(recipe: Recipe, frames: float) -> float:
    return recipe.limits.task_s + recipe.limits.frame_s * frames


def _curate_task(
    part: str, name: str, rows: list[Row], recipe: Recipe, attempt: int = 1, known: Iterable[str] = ()
) -> CurateTask:
    frames = sum(row["size"] for row in rows) / BYTES_PER_FRAME
    return CurateTask(
        name=name,
        part=part,
        rows=rows,
        attempt=attempt,
        known=frozenset(known),
        limit_s=_limit_s(recipe, frames),
    )


def _unit_task(
    unit: str,
    rows: list[Row],
    attempt: int,
    sources: dict[str, Row],
    waves: list[Wave],
    withdrawn: Withdrawn,
    recipe: Recipe,
) -> SynthesiseTask:
    clips = _not_withdrawn(rows, withdrawn)
    conflict = "it joins clips of earlier waves that are in different splits"
    return SynthesiseTask(
        name=unit,
        part=part_of(unit),
        clip_table=clip_table_of(unit),
        wave=wave_of(waves, clip_table_of(unit)).name,
        clips=clips,
        sources={row["source_key"]: sources[row["source_key"]] for row in clips},
        attempt=attempt,
        refused={row["clip_id"]: ("split_conflict", conflict) for row in clips if row["split"] == CONFLICT},
        limit_s=_limit_s(recipe, sum(row["frames"] for row in clips)),
    )


def _cut(out: Output, row: Row, sources: dict[str, Row]) -> PortraitCut:
    """All that a worker needs to cut one portrait."""
    columns = ["clip_id", "source_key", "source_sha256", "crop", "size", "donor_frame"]
    clips = read_table(out.clips / f"{row['piece']}.parquet", columns).to_pylist()
    clip = next(clip for clip in clips if clip["clip_id"] == row["clip_id"])
    return PortraitCut(clip, {column.name: sources[clip["source_key"]][column.name] for column in PLAN})


def _not_withdrawn(rows: list[Row], withdrawn: Withdrawn) -> list[Row]:
    """Rows of footage that was not withdrawn."""
    return [row for row in rows if not withdrawn.covers(row["source"], row["subject"])]


def _first_parts(pending: list[str], rows: dict[str, list[Row]], limit: int) -> list[str]:
    """The first parts that together hold at least `limit` sources."""
    kept: list[str] = []
    sources = 0
    for part in pending:
        if sources >= limit:
            break
        kept.append(part)
        sources += len(rows[part])
    return kept


def _clip_ids(out: Output, part: str, before: str) -> set[str]:
    """Ids of the clips of a part and of its retries before the clip table `before`."""
    found: set[str] = set()
    for clip_table in (part, *(again(part, number) for number in range(1, retry_of(before)))):
        path = out.clips / f"{clip_table}.parquet"
        if path.exists():
            found.update(read_table(path, ["clip_id"])["clip_id"].to_pylist())
    return found
