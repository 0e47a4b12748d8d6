"""End-to-end training speed from real shards: steps/s, MFU, data wait; no Ray.

    python -m benchmarks.train OUT --stages stage1 stage2 joint --steps 30 --output DIR
    python -m benchmarks.train OUT --stages tiny-image tiny-video --steps 5 --output DIR     (a CPU)

Each stage is a bundled config, trained for a few steps in a process of its own with checkpoints and validation off. The
first `--skip` logged steps (compilation, caches) do not count. Latents come from `precompute`, or --precompute here;
`--set codec=random --set image_encoder=random --set data.precomputed=never` measures encoding in line. Writes
DIR/train.json and DIR/train.md, and prints a line a stage.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
from pathlib import Path
from typing import Any

COLUMNS = ("step_s", "clips_per_s", "tflops", "mfu", "data_wait_share", "peak_gb")


def main() -> None:
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.precompute:
        _precompute(options.stages[0], options)
    rows = []
    for stage in options.stages:
        folder = options.output / stage
        process = multiprocessing.get_context("spawn").Process(target=_train, args=(stage, folder, options))
        process.start()
        process.join()
        row = {"stage": stage} | (_read(folder / "log.jsonl", options.skip) if process.exitcode == 0 else {})
        rows.append(row)
        print(_line(row), flush=True)
    document = {"device": _device(), "set": options.set, "rows": rows}
    (options.output / "train.json").write_text(json.dumps(document, indent=1) + "\n")
    (options.output / "train.md").write_text(_table(rows))


def _train(stage: str, folder: Path, options: argparse.Namespace) -> None:
    import torch

    from trainer.train.job import Job, load_config, sources_of
    from trainer.train.loop import train
    from trainer.train.ranks import Ranks

    never = ["validation.every=0", f"checkpoints.every={10 * options.steps}", "log_every=1"]
    config = load_config(stage, [f"steps={options.steps}", *never, *options.set])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    job = Job(config, sources_of(config, options.data, options.where), folder, options.init, resume=False)
    train(job, Ranks.current(device))


def _precompute(stage: str, options: argparse.Namespace) -> None:
    """Latents and tokens of untrained networks of the model's size: they take the same time as real ones."""
    import torch

    from trainer.latents.frozen import random_image_encoder, random_vae
    from trainer.latents.load import encoders_of
    from trainer.latents.precompute import precompute
    from trainer.train.job import load_config

    model = load_config(stage, options.set).model.resolve(None)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoders = encoders_of(random_vae(model), random_image_encoder(model), device=device)
    for data in options.data:
        precompute(Path(data), encoders, clip_size=model.image_encoder.image_size)


def _read(log: Path, skip: int) -> dict[str, Any]:
    """Medians over the steps that count; the data wait is their mean, since waits come in bursts."""
    lines = [values for values in map(json.loads, log.read_text().splitlines()) if "speed/step_s" in values]
    counted = lines[skip:] or lines
    row: dict[str, Any] = {"steps": len(counted), "loss": counted[-1]["loss"]}
    for name in COLUMNS:
        key = f"memory/{name}" if name == "peak_gb" else f"speed/{name}"
        values = [values[key] for values in counted if key in values]
        if values:
            row[name] = statistics.mean(values) if name == "data_wait_share" else statistics.median(values)
    return row


def _line(row: dict[str, Any]) -> str:
    if "step_s" not in row:
        return f"{row['stage']}: failed"
    mfu = f"  MFU {100 * row['mfu']:.1f} %" if "mfu" in row else ""
    return (
        f"{row['stage']}: {1 / row['step_s']:.3f} steps/s  {row['clips_per_s']:.2f} clips/s  "
        f"{row['tflops']:.3f} TFLOP/s{mfu}  data wait {100 * row['data_wait_share']:.2f} %  "
        f"peak {row['peak_gb']:.1f} GB"
    )


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["| stage | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for row in rows:
        cells = [f"{row[name]:.4g}" if name in row else "-" for name in COLUMNS]
        lines.append(f"| {row['stage']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _device() -> str:
    import torch

    return (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", help="outputs of the pipeline")
    parser.add_argument("--output", type=Path, required=True, help="folder for runs and results; must be new")
    parser.add_argument(
        "--stages", nargs="+", default=["stage1", "stage2", "joint"], help="configs to measure"
    )
    parser.add_argument("--precompute", action="store_true", help="first store latents of untrained networks")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--skip", type=int, default=5, help="first steps that do not count")
    parser.add_argument("--init", type=Path, help="weights; default: random, which takes the same time")
    parser.add_argument("--where", help="SQL that chooses the clips")
    parser.add_argument("--set", action="append", default=[], help="change a value of the config; repeatable")
    return parser.parse_args()


if __name__ == "__main__":
    main()
