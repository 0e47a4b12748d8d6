"""Memory of a run over one long video, all processes together (PSS).

    python -m benchmarks.memory [--seconds 120] [--workers 2] [--clips 6] [--output FILE.md]

The video is a made talking head in 1920x1080, ten seconds repeated. Curation reads all of it; of its clips the longest
few (`--clips`) are synthesised, since each is released before the next.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.setting import machine, peak_memory, table
from datagen.media import probe
from tests.support import arguments, convert, environment, head_video

SHORT_S, RATE = 10, 25


def peak(line: list[object], log: Path) -> float:
    """Largest memory of a command and its descendants in GB."""
    with log.open("wb") as errors, subprocess.Popen(
        arguments(*line), env=environment(), stdout=subprocess.DEVNULL, stderr=errors
    ) as process, peak_memory(process.pid) as samples:  # fmt: skip
        if process.wait():
            raise RuntimeError(log.read_text()[-1000:])
    return max(samples)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clips", type=int, default=6, help="clips to synthesise")
    parser.add_argument("--output", type=Path, help="write the table there too")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="memory-"))
    try:
        footage, out = folder / "footage", folder / "out"
        footage.mkdir()
        short = head_video(folder / "short.mp4", 0, SHORT_S * RATE, 0, (1920, 1080))
        repeats = ["-stream_loop", str(options.seconds // SHORT_S - 1)]
        found = probe(convert(short, footage / "long.mp4", "-c", "copy", before=repeats))
        ray: list[object] = ["--runner", "ray", "--workers", options.workers]
        chosen = [f"curate.max_clips_per_source={options.clips}", "plan.clips_per_unit=1"]
        words = [word for setting in chosen for word in ("--set", setting)]
        subprocess.run(
            arguments("plan", "--input", footage, "--output", out, *words), env=environment(), check=True
        )
        rows = [
            [stage, f"{peak([stage, out, *ray], folder / 'log'):.2f} GB", "< 4 GB"]
            for stage in ("curate", "synthesise")
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    what = f"{found.frames} frames of {found.width}x{found.height}, {options.workers} Ray workers"
    text = f"{machine()}\n\n{what}\n\n" + table(["stage", "peak of all processes", "goal"], rows)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
