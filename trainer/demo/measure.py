"""Measures whether results follow their driver: errors inside the face box, compared with baselines.

Every error is the mean absolute difference to the true frame, in grey levels of 0..255, inside that frame's face box.
Shapes as in `trainer.model.layers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datagen.shards.reader import Dataset
from trainer.animate.generate import generate
from trainer.checkpoints.folder import load_info, load_model
from trainer.data import KINDS, Batch, DataSource, Drivers, TrainingData, open_training_data
from trainer.data.batch import collate
from trainer.data.config import Kind
from trainer.latents.frozen import FrozenNetworks, load_frozen
from trainer.model.config import MegActorConfig
from trainer.model.megactor import MegActor
from trainer.train.config import TrainConfig
from trainer.train.inputs import ModelInputs, draws_of, prepare
from trainer.train.state.checkpoint import usable_weights

FRAMES = 8  # number of frames of a clip that are measured, spread over it
_STEP = 2**31  # step number in the key of the noise; no training step has it
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Errors:
    """Mean errors of some clips.

    Attributes:
        clips, frames: how many were measured.
        model: error of the result.
        copy: error of the reference, shown as every frame.
        shuffled: error of the same model with the same noise and with its driver frames in another order.
        codec: error of the true frame after encoding and decoding, the lowest that any result can reach.
        nearest: share of results that are nearer to their own true frame than to all others; chance is 1 / 8.
    """

    clips: int
    frames: int
    model: float
    copy: float
    shuffled: float
    codec: float
    nearest: float

    @property
    def follows(self) -> bool:
        """Whether the result is better than a copy of the reference, and better than with shuffled driver frames."""
        return self.model < min(self.copy, self.shuffled)

    def to_dict(self) -> dict[str, float | bool]:
        """A plain dict for JSON."""
        return {name: round(value, 3) for name, value in asdict(self).items()} | {"follows": self.follows}


Measured = dict[str, dict[Kind, Errors]]
"""Errors by part of the data and kind of driver."""


class Evaluator:
    """A trained run, and the data set on which it is measured."""

    def __init__(self, run: Path, config: TrainConfig, data: Path) -> None:
        """Load the averaged weights of a run.

        Raises:
            UserError: there is no checkpoint.
        """
        weights = usable_weights(run)
        self.config, self.data = config, data
        self.architecture: MegActorConfig = config.model.resolve(load_info(weights).config)
        self.model: MegActor = load_model(weights).eval()
        self.frozen: FrozenNetworks = load_frozen(
            config.codec, config.image_encoder, self.architecture, CPU, None
        )
        self.dataset = Dataset(data)

    def errors(self, where: str, kind: Kind) -> Errors:
        """Errors over the clips that SQL selects, with one kind of driver.

        Raises:
            UserError: there is no such clip.
        """
        rows = [self._clip(batch) for batch in self.batches(where, kind, FRAMES)]
        model, copy, shuffled, codec, nearest = (float(np.mean(column)) for column in zip(*rows, strict=True))
        return Errors(len(rows), len(rows) * FRAMES, model, copy, shuffled, codec, nearest)

    def batches(self, where: str, kind: Kind, frames: int, rate: float = 2.0) -> Iterator[Batch]:
        """Batches of one clip each, every clip once."""
        drivers = Drivers(**{name: float(name == kind) for name in KINDS})
        size = self.architecture.image_encoder.image_size
        config = self.config.data.model_copy(
            update={"frames": frames, "frame_rate": rate, "drivers": drivers, "clip_size": size}
        )
        source = DataSource(path=str(self.data), where=where)
        data: TrainingData = open_training_data([source], config, seed=0, split=None)
        for slot in range(len(data.clips[0])):
            batch = collate([data.sample(slot)])
            if KINDS[int(batch.kinds_B[0])] == kind:  # a clip may lack it
                yield batch

    def result(self, batch: Batch) -> Tensor:
        """The generated video (F 3 H W)."""
        inputs = self._inputs(batch)
        return generate(
            self.model,
            self.architecture.diffusion,
            inputs.conditions,
            inputs.draws.noise_BFCHW,
            self.frozen,
            motion=self.config.stage != "image",
            precision=self.config.precision,
        )[0]

    def _clip(self, batch: Batch) -> tuple[float, float, float, float, float]:
        assert batch.target_BF3HW is not None and self.frozen.decode is not None
        truth_F3HW = batch.target_BF3HW[0].float() / 255
        result_F3HW = self.result(batch)
        order = torch.arange(FRAMES).roll(FRAMES // 2)
        shuffled_F3HW = self.result(replace(batch, driver_BF1HW=batch.driver_BF1HW[:, order]))
        copy_F3HW = (batch.reference_B3HW.float() / 255).expand_as(truth_F3HW)
        means_FCHW = self.frozen.encoders.image_moments(batch.target_BF3HW[0]).chunk(2, dim=1)[0]
        codec_F3HW = self.frozen.decode(means_FCHW * self.frozen.scaling_factor)
        boxes_F4 = self.dataset.faces(batch.clip_ids[0])["box"][batch.indices_BF[0].numpy()].astype(float)

        def error(images_F3HW: Tensor) -> float:
            pairs = zip(images_F3HW, truth_F3HW, boxes_F4, strict=True)
            return float(np.mean([difference(image, true, box) for image, true, box in pairs]))

        table = np.array(
            [
                [difference(image, true, box) for true, box in zip(truth_F3HW, boxes_F4, strict=True)]
                for image in result_F3HW
            ]
        )
        nearest = float((table.argmin(axis=1) == np.arange(FRAMES)).mean())
        return error(result_F3HW), error(copy_F3HW), error(shuffled_F3HW), error(codec_F3HW), nearest

    def _inputs(self, batch: Batch) -> ModelInputs:
        channels = self.architecture.model.latent_channels
        draws = draws_of(batch, self.architecture.diffusion, channels, seed=0, step=_STEP)
        return prepare(batch, draws, self.frozen, CPU)


def difference(image_3HW: Tensor, true_3HW: Tensor, box: np.ndarray) -> float:
    """Mean absolute difference of two images in [0, 1] inside a box x0, y0, x1, y1, in grey levels."""
    height, width = image_3HW.shape[1:]
    x0, y0 = (max(0, int(np.floor(value))) for value in box[:2])
    x1, y1 = min(width, int(np.ceil(box[2])) + 1), min(height, int(np.ceil(box[3])) + 1)
    return float((image_3HW - true_3HW)[:, y0:y1, x0:x1].abs().mean() * 255)
