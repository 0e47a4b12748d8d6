"""What a run loses by kills, damaged media and full disks.

    python -m benchmarks.faults [--kills 20] [--actors 3] [--drivers 2] [--around 1] [--media 300] [--seed 0]
        [--output FILE.md]

Every run is compared with an uninterrupted one in one process: shards, index, clip table, failures and donor pool must
be byte-identical, no clip doubled, no temporary file left. Damaged media are curated one by one: each must end as
clips or as failure rows, in time. Prints a Markdown table; the full disk needs root for a small tmpfs.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.around import hanging_decoder, moved_root, other_libraries, overlapping_stages
from benchmarks.setting import machine, table
from datagen.output.failures import read_failures
from tests.damage import KINDS, Curator, Outcome, containers, damaged_files
from tests.reference_run import LIMIT_S, ReferenceRun, kill_actor, kill_and_resume, run_at_once
from tests.support import TINY_RECIPE, command


def fill_disk(reference: ReferenceRun, folder: Path, kilobytes: int) -> tuple[bool, list[str]] | None:
    """Run on a file system of this size, enlarge it, run again.

    Returns:
        Whether it was full, and what was lost; None without root.
    """
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        return None
    try:
        out = folder / "out"
        done = command(*reference.words(out), check=False, timeout=LIMIT_S)
        lost = []
        if done.returncode and ("full" not in done.stderr or "Traceback" in done.stderr):
            lost.append(f"the message is not about the disk: {done.stderr[-200:]!r}")
        subprocess.run(["mount", "-o", "remount,size=200m", str(folder)], check=True)
        command(*reference.words(out), timeout=LIMIT_S)
        return done.returncode != 0, lost + reference.differences(out)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def damage(folder: Path, count: int, seed: int, limit_s: float) -> tuple[list[list[object]], list[Path]]:
    """Curate damaged media: rows of outcomes per kind of damage, and files that killed their process."""
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    deadly = []
    slowest = Outcome()
    with Curator(limit_s) as curate:
        for path, kind in damaged_files(containers(folder / "sound"), folder / "damaged", count, seed):
            outcome = curate(path)
            outcomes[kind][str(outcome)] += 1
            slowest = max(slowest, outcome, key=lambda item: item.seconds)
            if outcome.died or not str(outcome):
                deadly.append(path)
                print(f"{path.name}: {outcome}", flush=True)
            else:
                path.unlink()
    print(f"slowest damaged file: {slowest.seconds:.1f} s ({slowest})", flush=True)
    rows: list[list[object]] = [
        [f"media: {kind}, seeds {seed}..{seed + count - 1}", sum(found.values()),
         ", ".join(f"{what} {times}" for what, times in found.most_common()),
         sum(times for what, times in found.items() if not what or "process died" in what or "no end" in what)]
        for kind, found in outcomes.items()
    ]  # fmt: skip
    return rows, deadly


def deadly_end_as_rows(files: list[Path], folder: Path) -> list[str]:
    """Files that kill or stop a process, through the command with Ray: those that leave no row."""
    footage, recipe, out = folder / "deadly", folder / "tiny.yaml", folder / "deadly-out"
    footage.mkdir()
    for path in files:
        shutil.copy(path, footage)
    recipe.write_text(TINY_RECIPE)
    command("plan", "--input", footage, "--recipe", recipe, "--output", out)
    command("curate", out, "--runner", "ray", "--workers", 1, timeout=LIMIT_S)
    seen = {row["source"] for row in read_failures(out).to_pylist()}
    return [path.name for path in files if path.name not in seen]


AROUND: tuple[tuple[str, str, Callable[[ReferenceRun, Path], list[str]]], ...] = (
    ("`synthesise` again and again beside `curate`", "byte-identical", overlapping_stages),
    ("footage moved between `curate` and `synthesise`", "one error, then byte-identical", moved_root),
    ("a node with another numpy", "left out with one line, then byte-identical", other_libraries),
    (
        "a decoder that hangs on one file",
        "a failure row `timeout`; without the fault, a clip",
        hanging_decoder,
    ),
)


def main() -> None:
    """Try everything and print the table."""
    options = _options()
    rng = random.Random(options.seed)
    rows: list[list[object]] = []
    folder = Path(tempfile.mkdtemp(prefix="faults-"))

    def tell(what: str, times: int, outcome: str, lost: list[str]) -> None:
        rows.append([what, times, outcome, "; ".join(lost) or "nothing"])
        print(*rows[-1], sep=" | ", flush=True)

    try:
        if options.kills or options.actors or options.drivers or options.disks or options.around:
            reference = ReferenceRun.make(folder)
            print(f"reference: {len(reference.clips)} clips in {reference.seconds:.1f} s", flush=True)
        hits, lost = 0, []
        for number in range(options.kills):
            killed, found = kill_and_resume(
                reference, folder / f"kill-{number}", rng.uniform(0.5, reference.seconds)
            )
            hits, lost = hits + killed, lost + found
            shutil.rmtree(folder / f"kill-{number}")
            print(f"kill {number + 1}: {'; '.join(found) or 'nothing lost'}", flush=True)
        if options.kills:
            tell(
                f"driver killed (SIGKILL) at random moments, seed {options.seed}, and run again", options.kills,
                f"{hits} were at work, all finished byte-identical" if not lost else "differences", lost,
            )  # fmt: skip
        hits, lost = 0, []
        for number in range(options.actors):
            killed, found = kill_actor(reference, folder / f"actor-{number}", rng.uniform(0.1, 1.0))
            hits, lost = hits + killed, lost + found
        if options.actors:
            tell(
                "Ray actor killed in the middle of a unit", options.actors,
                f"{hits} were at work, the same run finished byte-identical" if not lost else "differences", lost,
            )  # fmt: skip
        lost = [
            text for n in range(options.drivers) for text in run_at_once(reference, folder / f"two-{n}", 2)
        ]
        if options.drivers:
            tell(
                "two drivers at once on one output", options.drivers, "both ended well, byte-identical", lost
            )
        full, lost, skipped = 0, [], False
        for number in range(options.disks):
            answer = fill_disk(reference, folder / f"disk-{number}", rng.randint(100, 1500))
            if answer is None:
                skipped = True
                break
            full, lost = full + answer[0], lost + answer[1]
        if options.disks:
            outcome = "skipped: mounting a small tmpfs needs root" if skipped else (
                f"{full} ran full and ended with one line; with room, all finished byte-identical"
            )  # fmt: skip
            tell("full disk: tmpfs of 100 kB to 1.5 MB, then room", options.disks, outcome, lost)
        for number in range(options.around):
            for what, outcome, fault in AROUND:
                where = folder / f"around-{number}-{fault.__name__}"
                where.mkdir()
                tell(what, 1, outcome, fault(reference, where))
        if options.media:
            found_rows, deadly = damage(folder, options.media, options.seed, options.limit)
            rows += found_rows
            if deadly:
                lost = deadly_end_as_rows(deadly, folder)
                tell(
                    "the files that killed or stopped their process, as a run with Ray",
                    len(deadly),
                    "rows",
                    lost,
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = f"{machine()}\n\n" + table(["tried", "times", "outcome", "lost"], rows)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs of the driver")
    parser.add_argument("--actors", type=int, default=3, help="SIGKILLs of a Ray actor")
    parser.add_argument("--drivers", type=int, default=2, help="times that two drivers run at once")
    parser.add_argument("--disks", type=int, default=5, help="runs on a small file system")
    parser.add_argument(
        "--around",
        type=int,
        default=1,
        help="rounds of what happens around a run: stages, roots, nodes, decoders",
    )
    parser.add_argument("--media", type=int, default=300, help="damaged media files")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one damaged file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the table there too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
