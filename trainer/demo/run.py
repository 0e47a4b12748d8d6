"""Command line of the demonstration: data, two stages of training, measurement."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from datagen.common.cli_options import answer, say
from datagen.common.errors import UserError
from trainer.animate.side_by_side import write_side_by_side
from trainer.data.config import Kind
from trainer.demo.footage import WHERE, make_data
from trainer.demo.measure import CPU, Evaluator, Measured
from trainer.demo.summary import summarise
from trainer.train.config import TrainConfig
from trainer.train.job import Job, load_config, sources_of
from trainer.train.loop import train
from trainer.train.ranks import Ranks


def main() -> int:
    """Run the demonstration; what exists already is not made again."""
    options = _options()
    out: Path = options.output
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        data = make_data(out, answer)
        configs = {}
        init: Path | None = None
        for stage in ("image", "video"):
            config = load_config(f"demo-{stage}", options.set.get(stage, []))
            job = Job(config, sources_of(config, [str(data)]), out / f"run-{stage}", init, resume=True)
            if not train(job, Ranks.current(CPU), answer).finished:
                return 1
            configs[stage], init = config, out / f"run-{stage}"
        result = {stage: _measure(out / f"run-{stage}", configs[stage], data) for stage in configs}
        _write_videos(out, configs["video"], data)
        text, good = summarise(out, result, configs)
    except UserError as error:
        say(f"error: {error}")
        return error.code
    answer(text)
    return 0 if good else 1


def _measure(run: Path, config: TrainConfig, data: Path) -> Measured:
    """Errors by part of the data and kind of driver."""
    evaluator = Evaluator(run, config, data)
    found: Measured = {}
    for part, where in WHERE.items():
        found[part] = {"original": evaluator.errors(where, "original")}
    found["held-out motion"]["swapped"] = evaluator.errors(WHERE["held-out motion"], "swapped")
    return found


def _write_videos(out: Path, config: TrainConfig, data: Path) -> None:
    """Write videos reference | driver | result | true frames."""
    evaluator = Evaluator(out / "run-video", config, data)
    shown: list[tuple[str, Kind]] = [
        ("held-out motion", "original"),
        ("unseen identity", "original"),
        ("held-out motion", "swapped"),
    ]
    for part, kind in shown:
        for batch in evaluator.batches(WHERE[part], kind, frames=24, rate=8.0):
            assert batch.target_BF3HW is not None
            name = f"{part.replace(' ', '-')}-{kind}-{batch.clip_ids[0]}.mp4"
            write_side_by_side(
                out / "films" / name, batch, evaluator.result(batch), batch.target_BF3HW[0] / 255
            )
            break


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m trainer.demo", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("out/train-demo"), help="folder for everything")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's own choice")
    parser.add_argument("--image-steps", type=int, help="steps of the first stage")
    parser.add_argument("--video-steps", type=int, help="steps of the second stage")
    options = parser.parse_args()
    options.set = {
        stage: [f"steps={steps}"]
        for stage, steps in (("image", options.image_steps), ("video", options.video_steps))
        if steps is not None
    }
    return options
