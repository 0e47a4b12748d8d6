"""Speed and memory of the embedded pipeline: overhead, workers, operations, and against a chain of stages.

    python -m benchmarks.pipeline [--clips 6] [--frames 75] [--videos FOLDER] [--output FILE.md]

One local worker pinned to one core gives processor seconds per operation and the overhead over their sum. Ray with one
and two workers gives the gain of the second one, between the first units they finish and the last, so that starting
Ray does not count. `benchmarks.stages` does the same operations with a decode, an encode and a tar at every stage.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.setting import machine, peak_memory, table
from datagen.shards import Dataset
from tests.support import arguments, command, environment, head_video

MODELS = ("swap", "stylise")


def staged(how: str, out: Path) -> dict[str, Any]:
    """What `benchmarks.stages` prints, run on one core."""
    line = ["taskset", "-c", "0", sys.executable, "-m", "benchmarks.stages", how, str(out)]
    done = subprocess.run(line, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-1000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def planned(footage: Path, out: Path) -> Path:
    """An output with its plan, one clip a unit."""
    settings = ["plan.clips_per_unit=1", "plan.sources_per_part=1000", "donors.min_distance=0.4"]
    words = [word for setting in settings for word in ("--set", setting)]
    command("plan", "--input", footage, "--output", out, *words)
    return out


def units_per_second(out: Path, workers: int) -> float:
    """Rate between the first unit of each worker and the last of all."""
    times = sorted(path.stat().st_mtime for path in (out / "index").glob("*.parquet"))
    return (len(times) - workers) / (times[-1] - times[workers - 1])


def with_ray(base: Path, out: Path, workers: int) -> tuple[float, float]:
    """Units per second, and the peak memory of all processes in GB."""
    shutil.copytree(base, out)
    with subprocess.Popen(
        arguments("synthesise", out, "--runner", "ray", "--workers", workers),
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as driver, peak_memory(driver.pid, every_s=1.0) as samples:  # fmt: skip
        driver.wait()
    return units_per_second(out, workers), max(samples)


def main() -> None:
    """Measure and print."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="pipeline-"))
    try:
        text = measure(folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


def measure(folder: Path, options: argparse.Namespace) -> str:
    """The tables."""
    footage = options.videos
    if footage is None:
        footage = folder / "footage"
        footage.mkdir()
        for number in range(options.clips):
            head_video(footage / f"{number}.mp4", number % 3, options.frames, number, (512, 512))
    out = planned(footage, folder / "out")
    straight = staged("pipeline", out)
    chained = staged("chain", out)
    base = folder / "base"
    shutil.copytree(out, base)
    for name in ("shards", "index", "logs"):
        shutil.rmtree(base / name)
    rates, memory = zip(*(with_ray(base, folder / f"ray-{n}", n) for n in (1, 2)), strict=True)
    frames, spent, staged_frames = straight["frames"], straight["seconds"], chained["frames"]

    def rest(seconds: dict[str, float]) -> float:
        return sum(value for name, value in seconds.items() if name not in MODELS)

    per = {name: 100 * value / frames for name, value in spent.items()}
    per_staged = {name: 100 * value / staged_frames for name, value in chained["seconds"].items()}
    names = sorted(per.keys() | per_staged.keys(), key=lambda name: -per_staged.get(name, 0))
    styles = ", ".join(sorted({row["stylist"] or "none" for row in Dataset(out).table.to_pylist()}))
    operations = [[name, f"{per.get(name, 0):.2f}", f"{per_staged.get(name, 0):.2f}"] for name in names]
    sums = [
        [label, f"{count(per):.2f}", f"{count(per_staged):.2f}", f"{count(per_staged) / count(per):.2f}x", goal]
        for label, count, goal in (
            ("outside swap and style", rest, ">= 3x less"), ("in all", lambda s: sum(s.values()), ">= 1.3x less")
        )
    ]  # fmt: skip
    both = {stage: 100 * straight[stage] / frames for stage in ("curate", "synthesise")}
    rows = [
        [
            "synthesis over the sum of its operations, one worker",
            f"{straight['synthesise'] / sum(spent.values()):.3f}",
            "<= 1.1",
        ],
        ["curation, s per 100 frames", f"{both['curate']:.1f}", ""],
        ["synthesis, s per 100 frames", f"{both['synthesise']:.1f}", ""],
        ["whole pass, s per 100 frames", f"{sum(both.values()):.1f}", "<= 15"],
        ["two workers over one (wall)", f"{rates[1] / rates[0]:.2f}x", ">= 1.8x"],
        ["peak memory, all processes, 1 and 2 workers", f"{memory[0]:.2f}, {memory[1]:.2f} GB", "< 4 GB"],
    ]
    return "\n\n".join(
        [
            f"{machine()}; load {os.getloadavg()[0]:.1f}",
            f"{straight['clips']} clips, {frames} frames of 512x512; styles by {styles}",
            table(["figure", "measured", "goal"], rows),
            table(["operation, s per 100 frames", "pipeline", "stage by stage"], operations),
            table(["sum, s per 100 frames", "pipeline", "stage by stage", "ratio", "goal"], sums),
        ]
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=6, help="made talking heads")
    parser.add_argument("--frames", type=int, default=75, help="frames of each")
    parser.add_argument("--videos", type=Path, help="footage instead of made heads")
    parser.add_argument("--output", type=Path, help="write the tables there too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
