"""What the user asked for, as one picklable object that is also sent to other nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datagen.common.config import override, parse, read_yaml
from datagen.common.errors import UserError
from trainer.data import DataSource
from trainer.train.config import TrainConfig

CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True)
class Job:
    """One `train` command.

    Attributes:
        config: the training config.
        sources: the data sets to train on.
        output: the run's folder.
        init: weights to start from.
        resume: continue from the newest checkpoint, if there is one.
    """

    config: TrainConfig
    sources: tuple[DataSource, ...]
    output: Path
    init: Path | None = None
    resume: bool = False


def load_config(name: str, assignments: Sequence[str] = ()) -> TrainConfig:
    """Config of a YAML file or a bundled name, with `--set` assignments on top.

    Raises:
        UserError: no such config, or values that are wrong.
    """
    path = CONFIGS / f"{name}.yaml"
    if name not in bundled():
        path = Path(name)
        if not path.is_file():
            raise UserError(f"no config {name!r}: give a YAML file or one of {', '.join(bundled())}", code=2)
    return parse(TrainConfig, override(read_yaml(path), list(assignments)), name)


def bundled() -> list[str]:
    """Names of the configs that come with the package."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def sources_of(config: TrainConfig, data: Sequence[str], where: str | None = None) -> tuple[DataSource, ...]:
    """The data sets of a run, with the weights and the selection of clips in its config.

    Raises:
        UserError: no data, or not as many weights as data sets.
    """
    if not data:
        raise UserError("training needs a data set; give --data OUT", code=2)
    if config.weights is not None and len(config.weights) != len(data):
        raise UserError(
            f"weights = {config.weights} are for {len(config.weights)} data sets, got {len(data)}", code=2
        )
    weights = config.weights or (None,) * len(data)
    selection = " and ".join(f"({text})" for text in (config.where, where) if text) or None
    return tuple(
        DataSource(path=path, weight=weight, where=selection)
        for path, weight in zip(data, weights, strict=True)
    )
