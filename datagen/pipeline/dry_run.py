"""A dry run: estimate from a sample of the sources what a run would do and cost. It writes nothing."""

from __future__ import annotations

import os
from typing import Any

from datagen.common.errors import Refusal
from datagen.common.seeding import keyed_rng
from datagen.media import probe
from datagen.output.paths import Output, published_names
from datagen.pipeline.footage import Footage, Say
from datagen.pipeline.run_record import RunInputs
from datagen.plan.parts import preview_plan
from datagen.sources.roots import Roots, absolute

PROBED_SOURCES = 40  # the frames of all others are estimated from their size
# Measured with the embedded backends on one CPU core at 512 px; see docs/benchmarks.md.
CURATE_S, SYNTHESISE_S = 0.02, 0.16  # seconds per frame
BYTES_PER_FRAME = 16_000  # all streams of a clip
KEPT = 0.8  # share of frames that end in clips, on talking-head footage


def preview(out: Output, footage: Footage, inputs: RunInputs, limit: int | None, say: Say) -> str:
    """Text with the sources, frames, hours and bytes of a run."""
    found, roots = footage.sources(out, say)
    planned = preview_plan(out, found, inputs.recipe)
    done = published_names(out.clips)
    rows = [row for row in planned.table.to_pylist() if row["part"] not in done]
    if limit is not None:
        rows = rows[:limit]
    frames, probed, unreadable = _frames(rows, roots)
    kept = frames * KEPT
    hours = (frames * CURATE_S + kept * SYNTHESISE_S) / 3600
    units = kept / inputs.recipe.curate.max_frames / inputs.recipe.plan.clips_per_unit
    parts = len(set(planned.table["part"].to_pylist()))
    lines = [
        f"dry run of {out.root}: nothing was written",
        f"  sources     {len(rows)} to do, {planned.table.num_rows - len(rows)} done or beyond --limit",
        f"  parts       {parts}",
        f"  frames      about {frames:,.0f} (from {probed} sources probed, {unreadable} of them unreadable)",
        f"  clips       at least about {kept / inputs.recipe.curate.max_frames:,.0f}, in {max(units, 1):,.0f} shards",
        f"  CPU-hours   about {hours:,.2f} on one core; 0.00 GPU-hours: the recipe's backends run on the CPU",
        f"  bytes       about {kept * BYTES_PER_FRAME / 1e6:,.0f} MB",
        f"  recipe      {inputs.hash[:16]}",
    ]
    return "\n".join(lines)


def _frames(rows: list[dict[str, Any]], roots: Roots) -> tuple[float, int, int]:
    """Estimated frames of all rows, number of probed sources, and how many of these cannot be read."""
    picked = [row for row in rows if not row["member"]]
    if len(picked) > PROBED_SOURCES:
        picked = [
            picked[i]
            for i in sorted(
                keyed_rng("preview", len(rows)).choice(len(picked), PROBED_SOURCES, replace=False)
            )
        ]
    frames = size = unreadable = 0
    for row in picked:
        try:
            frames += probe(os.fsdecode(absolute(roots, row["root"], row["path"]))).frames
            size += row["size"]
        except Refusal:
            unreadable += 1
    total = sum(row["size"] for row in rows)
    return (frames * total / size if size else 0.0), len(picked), unreadable
