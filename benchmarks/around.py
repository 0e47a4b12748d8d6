"""Events around a run: overlapping stages, moved footage, nodes with other software, hanging decoders.

Each function returns what was lost, in words; an empty list if nothing was.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

from datagen.common.errors import UserError
from datagen.inspect.verify import verify
from datagen.output.failures import read_failures
from datagen.output.paths import Output, published_names
from datagen.pipeline.inputs import RunOptions, gather
from datagen.pipeline.pending import curate_tasks
from datagen.pipeline.run_record import expected_fingerprint, fingerprint
from datagen.pipeline.stages import cut
from datagen.pipeline.worker import WorkerSettings
from datagen.runners import Supervision
from datagen.runners.ray import run_ray
from datagen.shards import Dataset
from datagen.sources.roots import read_roots
from tests.reference_run import LIMIT_S, ReferenceRun
from tests.support import ROOT, arguments, command, environment, run_words

HANGS = "head 3.mp4"
SHIM = f"""
import time
from datagen.media.decode import VideoReader

begin = VideoReader.__init__

def hang(self, path, *rest, **more):
    while {HANGS!r} in str(path):
        time.sleep(1)
    begin(self, path, *rest, **more)

VideoReader.__init__ = hang
"""
"""A `sitecustomize.py`: in every process that finds it, no video of this name ever opens."""


def overlapping_stages(reference: ReferenceRun, folder: Path) -> list[str]:
    """`synthesise` repeatedly while `curate` runs, then once more."""
    out = folder / "out"
    command("plan", *_source(reference, reference.footage), "--output", out)
    line = arguments("curate", out, "--runner", "local")
    with subprocess.Popen(
        line, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as curating:
        tries = 0
        while curating.poll() is None:
            done = command("synthesise", out, "--runner", "local", check=False, timeout=LIMIT_S)
            tries += 1
            if "internal error" in done.stderr:
                return [done.stderr[-300:]]
    command("synthesise", out, "--runner", "local", timeout=LIMIT_S)
    lost = [] if tries > 1 else ["`curate` ended before anything overlapped"]
    if curating.returncode:
        lost.append(f"`curate` ended with {curating.returncode}")
    return lost + reference.differences(out)


def moved_root(reference: ReferenceRun, folder: Path) -> list[str]:
    """Curate, move the footage, continue: first without the new folder, then with `--input` and the new folder."""
    before, after, out = folder / "before", folder / "after", folder / "out"
    shutil.copytree(reference.footage, before)
    command("plan", *_source(reference, before), "--output", out)
    command("curate", out, "--runner", "local", timeout=LIMIT_S)
    before.rename(after)
    done = command("synthesise", out, "--runner", "local", check=False, timeout=LIMIT_S)
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    lost = []
    if done.returncode != 1 or len(errors) != 1 or str(before) not in errors[0]:
        lost.append(f"not one error that names the folder: {done.returncode}, {errors}")
    if published_names(out / "index"):
        lost.append("units were published although their footage was gone")
    command(*run_words(after, reference.recipe, out, "local", *reference.pictures), timeout=LIMIT_S)
    return lost + reference.differences(out)


def other_libraries(reference: ReferenceRun, folder: Path) -> list[str]:
    """A cluster of one node whose numpy is not that of the driver, then the same output on a node that fits."""
    out = Output(folder / "out")
    command("plan", *_source(reference, reference.footage), "--output", out.root)
    inputs = gather(out, {}, RunOptions())
    expected = expected_fingerprint(out, inputs)
    supervision = Supervision(
        fingerprint=partial(fingerprint, inputs.recipe.encode.ffmpeg),
        expected=replace(expected, must=expected.must | {"numpy": "0.1"}),
    )
    settings = WorkerSettings(out.root, inputs.recipe, inputs.hash, inputs.styles, read_roots(out))
    tasks = curate_tasks(out, inputs.recipe, cut(out, inputs, None)).tasks
    lost = ["a node with another numpy was let in"]
    try:
        run_ray(settings, tasks, lambda task, report: None, workers=1, supervision=supervision)
    except UserError as error:
        lost = [] if "numpy" in str(error) else [f"the error does not name numpy: {error}"]
    if published_names(out.clips):
        lost.append("that node has published something")
    command(*reference.words(out.root, "ray", "--workers", 1), timeout=LIMIT_S)
    return lost + reference.differences(out.root)


def hanging_decoder(reference: ReferenceRun, folder: Path) -> list[str]:
    """One file whose decoder never returns, a limit of a few seconds for every task; then a retry without the fault."""
    out, shim = folder / "out", folder / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(SHIM)
    hanging = environment() | {"PYTHONPATH": os.pathsep.join((str(shim), str(ROOT)))}
    limits = ("--set", "limits.task_s=15", "--set", "limits.frame_s=0")
    line = reference.words(out, "local", "--max-failed", 1, *limits)
    done = subprocess.run(arguments(*line), env=hanging, capture_output=True, text=True, timeout=LIMIT_S)
    lost = [] if done.returncode == 0 else [f"the run ended with {done.returncode}: {done.stderr[-300:]}"]
    reasons = {
        row["source"]: row["reason"] for row in read_failures(out).to_pylist() if row["stream"] is None
    }
    if reasons.get(HANGS) != "timeout":
        lost.append(f"{HANGS} has no failure row `timeout`: {reasons}")
    if sum(reason == "timeout" for reason in reasons.values()) > 1:
        lost.append(f"other files were blamed too: {reasons}")
    command("retry", out, "--reason", "timeout", "--runner", "local", timeout=LIMIT_S)
    if sorted(Dataset(out).table["clip_id"].to_pylist()) != reference.clips:
        lost.append("clips are not the same ones after the retry")
    return lost + verify(out).faults


def _source(reference: ReferenceRun, footage: Path) -> list[object]:
    return ["--input", footage, "--recipe", reference.recipe, *reference.pictures]
