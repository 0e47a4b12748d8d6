"""Continuing from the newest checkpoint of a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from datagen.common.errors import UserError
from trainer.checkpoints.folder import load_state
from trainer.data import Loader, TrainingData
from trainer.train.config import TrainConfig
from trainer.train.job import Job
from trainer.train.metrics import Say
from trainer.train.ranks import Ranks
from trainer.train.state import checkpoint, rng
from trainer.train.state.train_state import TrainState

logger = logging.getLogger(__name__)


def newest_checkpoint(job: Job, ranks: Ranks, say: Say) -> Path | None:
    """The checkpoint to resume from, if any.

    Raises:
        UserError: there are checkpoints, but the job is not to be resumed.
    """
    existing = checkpoint.checkpoints(job.output)
    checkpoint.refuse_unless_resumed(job.output, job.resume)
    if ranks.is_main:
        checkpoint.clear_leftovers(job.output)
    ranks.wait()  # every rank has listed the checkpoints before the main rank writes anything
    if job.resume and not existing:
        say(f"{job.output} has no checkpoint yet; starting at step 0")
    return existing[-1] if existing else None


def resume(
    folder: Path, config: TrainConfig, train_state: TrainState, loader: Loader, ranks: Ranks
) -> list[str]:
    """Restore everything from a checkpoint; returns what the user should know."""
    progress = checkpoint.read_progress(folder)
    logger.info("rank %d resumes from %s", ranks.rank, folder)
    if progress.stage != config.stage:
        raise UserError(
            f"{folder} is of stage {progress.stage}, this config of stage {config.stage}; "
            f"begin the stage with --init {folder.parents[1]} and another --output"
        )
    notes = [f"resuming from step {progress.step}"]
    notes += loader.restore(progress.data)
    data: TrainingData = loader.data
    if list(data.recipes) != progress.recipes:
        notes.append(f"the recipes of the data changed: {progress.recipes} before, {list(data.recipes)} now")
    if changed := _changes(progress.config, config.model_dump(mode="json")):
        notes.append(f"changed since the checkpoint: {', '.join(changed)}")
    averaged = load_state(folder / "ema") if config.ema is not None and (folder / "ema").is_dir() else None
    notes += train_state.restore(progress.step, checkpoint.read_optimiser(folder), averaged)
    if state := checkpoint.read_rng(folder, ranks.rank):
        rng.restore(state, ranks.device)
    else:
        rng.seed_all(config.seed, progress.step, ranks.rank)
    return notes


def _changes(before: Mapping[str, object], now: Mapping[str, object], prefix: str = "") -> list[str]:
    """Fields that differ, as `name: before -> now`, except `clip_size`, which follows from the model."""
    found = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += _changes(old, new, f"{prefix}{name}.")
        elif old != new and name != "clip_size":
            found.append(f"{prefix}{name}: {old} -> {new}")
    return found
