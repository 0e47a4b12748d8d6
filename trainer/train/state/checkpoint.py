"""Checkpoints of a run: everything it needs to continue as if it had never stopped.

    RUN/checkpoints/step-00001000/
        model/                  a checkpoint folder (`trainer.checkpoints.folder`), the weights as they are trained
        ema/                    the same with averaged weights, for use; absent without averaging
        optimiser.safetensors   AdamW's moments and step counts, by parameter
        rng.safetensors         random generators of every rank
        state.json              step, position in the data, stage, recipe hashes of the data

A folder is written under a temporary name, synced to the disk and renamed, so that it is complete or absent even after
a power failure; only then is an old one removed. It contains no code.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from datagen.common.errors import UserError
from datagen.common.staging import clear_stale, staged
from trainer.checkpoints.folder import save_checkpoint
from trainer.checkpoints.tensor_files import read_json, read_tensors, write_safetensors
from trainer.checkpoints.vae import VAEWeights
from trainer.data.loader import LoaderState
from trainer.model.config import MegActorConfig

logger = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{8,})")
_OLD = re.compile(rf"\.{_NAME.pattern}\.old")


@dataclass(frozen=True)
class TrainingProgress:
    """Position of a run.

    Attributes:
        step: optimiser steps done.
        stage: the stage; it decides which parameter groups train.
        data: the loader's state, position included.
        recipes: recipe hashes of the data.
        ranks: workers that made the checkpoint.
        config: the run's config, as written in YAML.
    """

    step: int
    stage: str
    data: LoaderState
    recipes: list[str]
    ranks: int
    config: dict[str, Any]


@dataclass(frozen=True)
class Weights:
    """The model at a step: all tensors, and the averages of the trained ones (empty without averaging)."""

    config: MegActorConfig
    origins: dict[str, str]
    state: Mapping[str, Tensor]
    averages: Mapping[str, Tensor]
    vae: VAEWeights | None


def folder_of(run: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return run / "checkpoints" / f"step-{step:08d}"


def checkpoints(run: Path) -> list[Path]:
    """Finished checkpoints of a run, oldest first."""
    folder = run / "checkpoints"
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def refuse_unless_resumed(run: Path, resume: bool) -> None:
    """Check that a run with checkpoints is resumed, never overwritten.

    Raises:
        UserError: it has checkpoints, and `resume` is false.
    """
    existing = checkpoints(run)
    if existing and not resume:
        raise UserError(
            f"{run} holds checkpoints up to {existing[-1].name}; "
            f"--resume goes on from there, another --output starts a new run"
        )


def save(
    run: Path,
    progress: TrainingProgress,
    weights: Weights,
    optimiser: Mapping[str, Tensor],
    rngs: Mapping[str, Tensor],
    keep: int,
) -> Path:
    """Write a checkpoint, then remove all but the newest `keep`.

    Raises:
        UserError: the disk is full, or the folder exists.
    """
    folder = folder_of(run, progress.step)
    with staged(folder) as staging:
        staging.mkdir()
        save_checkpoint(staging / "model", weights.config, weights.state, weights.origins, vae=weights.vae)
        if weights.averages:
            averaged = {**weights.state, **weights.averages}
            save_checkpoint(staging / "ema", weights.config, averaged, weights.origins, vae=weights.vae)
        write_safetensors(staging / "optimiser.safetensors", dict(optimiser))
        write_safetensors(staging / "rng.safetensors", dict(rngs))
        text = json.dumps(asdict(progress), indent=1, sort_keys=True) + "\n"
        (staging / "state.json").write_text(text, encoding="utf-8")
    logger.info("saved %s", folder)
    for old in checkpoints(run)[:-keep]:
        # Renamed first: an interrupted removal must not leave half a checkpoint under a valid name.
        obsolete = old.with_name(f".{old.name}.old")
        old.rename(obsolete)
        shutil.rmtree(obsolete, ignore_errors=True)
        logger.info("removed %s", old)
    return folder


def clear_leftovers(run: Path) -> list[str]:
    """Remove incomplete checkpoints of killed processes; those that a running process is writing stay.

    Returns:
        Names removed.
    """
    folder = run / "checkpoints"
    removed = clear_stale(folder)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _OLD.fullmatch(path.name):  # its removal was interrupted
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path.name)
    if removed:
        logger.info("%s: removed what killed processes left: %s", folder, ", ".join(removed))
    return removed


def read_progress(folder: Path) -> TrainingProgress:
    """Position of the run at a checkpoint.

    Raises:
        UserError: unreadable, or not written by this program.
    """
    values: dict[str, Any] = read_json(folder / "state.json")
    try:
        return TrainingProgress(**values | {"data": LoaderState(**values["data"])})
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / 'state.json'} was not written by this program: {error}") from error


def read_optimiser(folder: Path) -> dict[str, Tensor]:
    """The optimiser's tensors of a checkpoint."""
    return read_tensors(folder / "optimiser.safetensors")


def read_rng(folder: Path, rank: int) -> dict[str, Tensor]:
    """Random generators of a rank at a checkpoint, empty if it was saved without that rank."""
    prefix = f"{rank}."
    tensors = read_tensors(folder / "rng.safetensors")
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def usable_weights(path: Path) -> Path:
    """The checkpoint folder of weights that `--init PATH` means: itself, or the newest averaged ones of a run.

    Raises:
        UserError: there is none.
    """
    if (path / "config.json").is_file():
        return path
    newest = checkpoints(path)[-1:] or [path]
    for name in ("ema", "model"):
        if (newest[0] / name / "config.json").is_file():
            return newest[0] / name
    raise UserError(
        f"{path} holds no checkpoint; give a folder that `weights import` wrote, or a run's folder", code=2
    )
