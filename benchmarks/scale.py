"""Plan, resume scan, dispatch and index queries of a million clips, with tasks that do nothing.

    python -m benchmarks.scale [--clips 1000000] [--units 100000] [--dispatch 4000] [--workers 2]

The set is made up: sources are listed but not read, nine of ten units count as published, and the merged
index holds made-up rows. The first wave is really frozen: its clips have embeddings, scores and frame hashes of
made-up people, so that people are found again, splits decided and donors ranked. Goals: plan < 60 s, resume scan
< 10 s, freeze < 2 min and < 2 GB, dispatch >= 200 units/s, a query < 1 s.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datagen.donors.choose import choose_donors
from datagen.output.ids import part_number
from datagen.output.paths import Output
from datagen.output.publish import read_table, save_table
from datagen.output.schema import CLIPS, DONORS, INDEX, WAVE, schema_of
from datagen.pipeline.freeze import freeze_clips
from datagen.pipeline.pending import synthesise_tasks
from datagen.plan.parts import ListedSource, extend_plan
from datagen.plan.waves import Wave, cut_waves
from datagen.recipe import Plan, Recipe
from datagen.runners import Report, Task, Worker, run_local
from datagen.runners.ray import run_ray
from datagen.runners.tasks import OnReport
from datagen.shards.reader import PIECES, Dataset
from datagen.shards.writer import canonical_json
from datagen.sources.manifest import Manifest
from datagen.sources.source import SourceVideo

CLIPS_PER_SOURCE, SOURCES_PER_PART, FRAMES = 5, 20, 75
QUERIES = (
    "split = 'test' and face_area > 0.49",
    "identity_to_source > 0.79 and swapped_flicker < 1.02 and yaw_range < 10",
    "source = 'person 00042/video 0000042.mp4'",
)


def nothing(task: Task) -> Report:
    """The worker: reports the clips of the task without any work."""
    return {"clips": len(task.clips)}


def make_nothing() -> Worker:
    """The factory of the worker."""
    return nothing


class Figures:
    """Measured times."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}

    @contextmanager
    def timed(self, name: str, goal: str = "") -> Iterator[None]:
        """Time the block."""
        started = time.perf_counter()
        yield
        self.add(name, f"{time.perf_counter() - started:.2f} s", goal)

    def add(self, name: str, value: str, goal: str = "") -> None:
        """Print and keep one figure."""
        self.rows[name] = f"{value}{f' (goal {goal})' if goal else ''}"
        print(f"{name:<44}{self.rows[name]}", flush=True)


def main() -> None:
    """Run all steps in a folder of its own."""
    parser = argparse.ArgumentParser(description="Scale of planning, resuming, dispatch and queries.")
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--dispatch", type=int, default=4_000, help="units to hand out")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="scale-"))
    try:
        measure(Output(folder), options)
    finally:
        shutil.rmtree(folder)


def measure(out: Output, options: argparse.Namespace) -> None:
    """All figures, one line each."""
    figures = Figures()
    figures.add("machine", f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs")
    size = options.clips // options.units
    recipe = Recipe(plan=Plan(sources_per_part=SOURCES_PER_PART, clips_per_unit=size))
    manifest = Manifest(name="scale", licence="none", consent="none")
    out.create()
    count = options.clips // CLIPS_PER_SOURCE
    with figures.timed(f"plan {count} sources", "< 60 s"):
        planned = extend_plan(
            out, (ListedSource(source, manifest, "scale", "") for source in sources(count)), recipe
        )
    with figures.timed("plan again, nothing new", "< 60 s"):
        extend_plan(out, (ListedSource(source, manifest, "scale", "") for source in sources(count)), recipe)
    waves = cut_waves(out, planned.table, recipe.plan.sources_per_wave)
    make_up(out, planned.table, waves, options)
    freeze(figures, out, waves[0], recipe)
    with figures.timed(f"resume scan of {options.units} units", "< 10 s"):
        pending = synthesise_tasks(out, recipe)
        tasks = iter(pending.tasks)
        first = next(tasks)
    figures.add("units pending / in all", f"{pending.count} / {pending.total}")

    chosen = [first, *itertools.islice(tasks, options.dispatch - 1)]
    dispatch(figures, "local", partial(run_local, make_nothing, chosen))
    ray = partial(run_ray, make_nothing, chosen, workers=options.workers)
    dispatch(figures, f"ray, {options.workers} workers", ray)

    for query in QUERIES:
        with figures.timed(f"query: {query[:36]}", "< 1 s"):
            found = len(Dataset(out.root, query, columns=["source", "frames"], files=False))
        figures.add("  clips found", str(found))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    figures.add("peak memory of this process", f"{peak:.2f} GB")


def freeze(figures: Figures, out: Output, wave: Wave, recipe: Recipe) -> None:
    """Freeze one wave in a process of its own, whose memory is then its peak alone."""
    (out.waves / f"{wave.name}.parquet").unlink()
    started = time.perf_counter()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        clips, people, donors, peak = pool.submit(frozen, out, wave, recipe).result()
    what = f"freeze a wave of {clips} clips"
    figures.add(what, f"{time.perf_counter() - started:.1f} s", "< 120 s")
    figures.add("  people found, donors chosen", f"{people}, {donors}")
    figures.add("  peak memory", f"{peak:.2f} GB", "< 2 GB")


def frozen(out: Output, wave: Wave, recipe: Recipe) -> tuple[int, int, int, float]:
    """Clips, people and donors of a wave that is frozen here, and the peak memory in GB."""
    freeze_clips(out, wave.name, wave.parts, recipe)
    chosen = choose_donors(out, wave.name, wave.parts, recipe, [], from_set=True)
    people = read_table(out.waves / f"{wave.name}.parquet", ["person"])["person"].to_pylist()
    donors = sum(row["reason"] is None for row in chosen)
    return len(people), len(set(people)), donors, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def dispatch(figures: Figures, name: str, run: Callable[[OnReport], None]) -> None:
    """Units per second between the first and the last report, without the start of the workers."""
    times: list[float] = []
    started = time.perf_counter()
    run(lambda task, report: times.append(time.perf_counter()))
    rate = (len(times) - 1) / (times[-1] - times[0])
    figures.add(f"dispatch of {len(times)} units, {name}", f"{rate:.0f} units/s", ">= 200")
    figures.add("  first report after", f"{times[0] - started:.2f} s")


def sources(count: int) -> Iterator[SourceVideo]:
    """Sources as a listing would give them."""
    for number in range(count):
        name, subject = source_name(number), f"{number % 5000:05d}"
        yield SourceVideo(name, b"/data/" + name.encode(), "", 1_000_000 + number, str(number), subject)


def source_name(number: int) -> str:
    """Name of a made-up source; 5000 people in all."""
    return f"person {number % 5000:05d}/video {number:07d}.mp4"


def make_up(out: Output, plan: pa.Table, waves: list[Wave], options: argparse.Namespace) -> None:
    """Clip tables of all parts, frozen waves, index names of nine units of ten, one merged index."""
    size = options.clips // options.units
    keys = plan["source_key"].to_pylist()
    rng = np.random.default_rng(0)
    faces = rng.normal(size=(5000, 128)).astype(np.float32)
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    units = []
    for wave in waves:
        table = []
        for part in wave.parts:
            at = part_number(part) * SOURCES_PER_PART
            own = keys[at : at + SOURCES_PER_PART]
            sources_ = [key for key in own for _ in range(CLIPS_PER_SOURCE)]
            columns: dict[str, Any] = {
                "clip_id": [f"{part}-t{clip:03d}-f0" for clip in range(len(sources_))],
                "source_key": sources_,
                "source": sources_,
                "frames": [FRAMES] * len(sources_),
            }
            mine = [f"{part}-u{clip // size:02d}" for clip in range(len(sources_))]
            units += sorted(set(mine))
            frozen_columns = {"piece": [part] * len(mine), "unit": mine, "split": ["train"] * len(mine)}
            frozen_columns |= {"rank": list(range(len(mine)))}
            table.append(filled(schema_of(WAVE), {**columns, **frozen_columns}))
            if wave is waves[0]:
                people = [int(key[7:12]) for key in sources_]
                noise = rng.normal(size=(len(people), 128)).astype(np.float32) * 0.015
                columns["embedding"] = list(faces[people] + noise)
                columns["donor_score"] = rng.random(len(people)).astype(np.float32)
                columns["frame_hashes"] = list(rng.integers(0, 2**63, (len(people), 6)).astype(np.uint64))
            save_table(filled(schema_of(CLIPS), columns), out.clips / f"{part}.parquet")
        save_table(pa.concat_tables(table), out.waves / f"{wave.name}.parquet")
        save_table(schema_of(DONORS).empty_table(), out.donors / f"{wave.name}.parquet")
    for unit in units[: len(units) * 9 // 10]:
        (out.index / f"{unit}.parquet").touch()
    pieces = [f"{unit}.parquet" for unit in units[: len(units) * 9 // 10]]
    out.compacted.mkdir()
    schema = schema_of(INDEX).with_metadata({PIECES: canonical_json(pieces)})
    with pq.ParquetWriter(out.compacted / "index.parquet", schema, compression="zstd") as writer:
        for start in range(0, options.clips, 65_536):
            writer.write_table(index_rows(schema, start, min(65_536, options.clips - start)))


def index_rows(schema: pa.Schema, start: int, count: int) -> pa.Table:
    """Index rows with different numbers."""
    rng = np.random.default_rng(start)
    clips = range(start, start + count)
    kept = [column.name for column in INDEX if pa.types.is_float32(column.type)]
    member = {"name": "clip.video.mp4", "offset": 512, "size": 300_000, "sha256": "0" * 64}
    columns = {
        "clip_id": [f"clip{clip:07d}-0a1b2c3d-t0-f0" for clip in clips],
        "unit": [f"p{clip // 100:05d}-u{clip // 10 % 10:02d}" for clip in clips],
        "members": [[member] * 9] * count,
        "source": [source_name(clip // CLIPS_PER_SOURCE) for clip in clips],
        "split": rng.choice(["train", "val", "test"], count, p=[0.9, 0.05, 0.05]).tolist(),
        "frames": [FRAMES] * count,
        "face_boxes": [[[100, 100, 300, 300]] * FRAMES] * count,
        **{name: rng.random(count).astype(np.float32) for name in kept},
    }
    columns["yaw_range"] = columns["yaw_range"] * 60
    columns["swapped_flicker"] = columns["swapped_flicker"] + 1
    return filled(schema, columns)


def filled(schema: pa.Schema, columns: Mapping[str, Sequence[object]]) -> pa.Table:
    """Table of a schema; columns that are not given are null."""
    count = len(next(iter(columns.values())))
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(count, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


if __name__ == "__main__":
    from benchmarks import scale  # workers find what they make under this name

    scale.main()
