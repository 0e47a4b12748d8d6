"""The stages of a run, in order. Each can be called alone and continues where it stopped.

Waves are done one after another: a wave is curated; its groups, splits and donors are frozen; its clips are made.
"""

from __future__ import annotations

from datagen.output.paths import Output, published_names
from datagen.pipeline.engine import Engine, do_or_record
from datagen.pipeline.footage import Footage, Say
from datagen.pipeline.freeze import freeze
from datagen.pipeline.pending import curate_tasks, frozen_units, synthesise_tasks
from datagen.pipeline.progress import RunProgress
from datagen.pipeline.retries import plan_remakes
from datagen.pipeline.run_record import RunInputs, start
from datagen.plan.parts import Planned, extend_plan, read_plan
from datagen.plan.waves import Wave, cut_waves, read_waves
from datagen.shards.compact import merge
from datagen.sources.roots import INPUT, write_roots

MERGE_FROM = 100  # least number of units in a wave; fewer index pieces open as fast as one file


def plan(out: Output, footage: Footage, inputs: RunInputs, say: Say) -> Planned:
    """Write `run.json` and the roots, and append new sources to the plan."""
    found, roots = footage.sources(out, say)
    if any(manifest.name == INPUT for manifest, _ in footage.places):
        say("warning: --input footage states no licence or consent; every row will say `unstated`")
    out.create()
    out.clear_stale_tmp()
    for warning in start(out, inputs):
        say(f"warning: {warning}")
    write_roots(out, roots)
    planned = extend_plan(out, found, inputs.recipe)
    for name in planned.changed[:5]:
        say(
            f"warning: {name} has changed since it was planned; its clips that are not made yet will fail as `changed`"
        )
    if planned.withdrawn:
        say(f"{planned.withdrawn} sources are left out: their consent was withdrawn")
    return planned


def cut(out: Output, inputs: RunInputs, limit: int | None) -> list[Wave]:
    """Divide planned parts that are in no wave into waves, up to a limit, and return all waves.

    The limit counts sources that are not curated yet, including those of existing waves.
    """
    waves = read_waves(out)
    if limit is not None:
        done = published_names(out.clips)
        left = {part for wave in waves for part in wave.parts if part not in done}
        limit = max(0, limit - sum(part in left for part in read_plan(out, ["part"])["part"].to_pylist()))
    return cut_waves(out, read_plan(out, ["part"]), inputs.recipe.plan.sources_per_wave, limit)


def run(
    out: Output, inputs: RunInputs, engine: Engine, limit: int | None
) -> tuple[list[RunProgress], list[RunProgress]]:
    """For each wave: curate, freeze, synthesise.

    Returns:
        Progress of curation and of synthesis.
    """
    waves = cut(out, inputs, limit)
    curated, made = [], []
    for wave in waves:
        curated.append(curate(out, inputs, engine, [wave], limit))
        if not wave.is_curated(published_names(out.clips)):
            break
        made.append(synthesise(out, inputs, engine))
    return curated, made or [synthesise(out, inputs, engine)]


def curate(
    out: Output, inputs: RunInputs, engine: Engine, waves: list[Wave], limit: int | None = None
) -> RunProgress:
    """Curate the parts of some waves that are not curated yet, and the parts of retries."""
    pending = curate_tasks(out, inputs.recipe, waves, limit)
    return do_or_record(out, inputs, engine, "curate", "part", pending)


def synthesise(out: Output, inputs: RunInputs, engine: Engine) -> RunProgress:
    """Make the units of curated waves that are not published yet."""
    freeze(out, inputs, engine)
    plan_remakes(out)
    progress = do_or_record(out, inputs, engine, "synthesise", "unit", synthesise_tasks(out, inputs.recipe))
    merge_finished_waves(out)
    return progress


def merge_finished_waves(out: Output) -> None:
    """Merge the index pieces of every large, finished wave, so that readers open one file."""
    done, merged = published_names(out.index), published_names(out.compacted)
    for name in sorted(published_names(out.waves) - merged):
        units = list(frozen_units(out, name, ["unit"]))
        if len(units) >= MERGE_FROM and "index" not in merged and done.issuperset(units):
            merge(out, name, units)
