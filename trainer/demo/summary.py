"""The result of the demonstration as JSON and Markdown."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path

import torch

from trainer.demo.measure import Measured
from trainer.train.config import TrainConfig

COLUMNS = ("model", "copy", "shuffled", "codec", "nearest")


def summarise(
    out: Path,
    result: Mapping[str, Measured],
    configs: Mapping[str, TrainConfig],
) -> tuple[str, bool]:
    """Write `result.json` and `result.md`; returns the Markdown, and whether the model follows its driver.

    It does if `Errors.follows` holds for original drivers, both on trained clips and on held-out motion. An unseen
    identity is reported only.
    """
    final = result["video"]
    seconds = {stage: _seconds(out / f"run-{stage}") for stage in result}
    good = all(final[part]["original"].follows for part in ("trained", "held-out motion"))
    document = {
        "follows": good,
        "parts": {
            stage: {
                part: {kind: errors.to_dict() for kind, errors in kinds.items()}
                for part, kinds in parts.items()
            }
            for stage, parts in result.items()
        },
        "training": {stage: {**seconds[stage], "steps": configs[stage].steps} for stage in seconds},
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "machine": platform.processor() or platform.machine(),
    }
    (out / "result.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    text = "\n".join(_lines(result, seconds, configs, good)) + "\n"
    (out / "result.md").write_text(text, encoding="utf-8")
    return text, good


def _lines(
    result: Mapping[str, Measured],
    seconds: Mapping[str, Mapping[str, float]],
    configs: Mapping[str, TrainConfig],
    good: bool,
) -> list[str]:
    lines = ["# Does the result follow its driver?", ""]
    lines.append("**Yes**" if good else "**No**")
    lines += ["", "Mean absolute error inside the face box, grey levels of 0..255; lower is better.", ""]
    lines.append(
        "| stage | clips | driver | model | copy of the reference | shuffled driver | codec alone | nearest |"
    )
    lines.append("|---|---|---|---|---|---|---|---|")
    for stage, parts in result.items():
        for part, kinds in parts.items():
            for kind, errors in kinds.items():
                values = errors.to_dict()
                cells = [f"{values[name]:.2f}" for name in COLUMNS]
                lines.append(f"| {stage} | {part} ({errors.clips}) | {kind} | " + " | ".join(cells) + " |")
    lines.append("")
    for stage, spent in seconds.items():
        lines.append(
            f"- stage {stage}: {configs[stage].steps} steps in {spent['wall_s'] / 60:.1f} min "
            f"({spent['cpu_s'] / 60:.1f} CPU min)"
        )
    lines.append("- `nearest`: results nearer to their own frame than to any other of 8; chance is 0.12")
    return lines


def _seconds(run: Path) -> dict[str, float]:
    """Time that a run took over all resumes, from its log."""
    wall = cpu = 0.0
    before = 0
    for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        if "speed/step_s" in values:
            wall += values["speed/step_s"] * (values["step"] - before)
            cpu += values["speed/step_cpu_s"] * (values["step"] - before)
            before = values["step"]
    return {"wall_s": round(wall, 1), "cpu_s": round(cpu, 1)}
