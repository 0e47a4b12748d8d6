"""Train a tiny MegActor from a data set in Python, on the CPU. Too short to learn much: it shows the way."""

from __future__ import annotations

import torch
from small_set import WORK, small_set

from trainer.train.job import Job, load_config, sources_of
from trainer.train.loop import train
from trainer.train.ranks import Ranks


def main() -> None:
    """Twelve steps of the image stage, a checkpoint, and a validation video; running it again resumes."""
    data = small_set()
    config = load_config("tiny-image", ["steps=12", "checkpoints.every=12", "validation.every=12"])
    job = Job(config, sources_of(config, [str(data)]), WORK / "training", resume=True)
    result = train(job, Ranks.current(torch.device("cpu")))
    print(result)
    for video in sorted((WORK / "training").rglob("*.mp4")):
        print(f"reference, driver, result and truth: look at {video}")


if __name__ == "__main__":
    main()
