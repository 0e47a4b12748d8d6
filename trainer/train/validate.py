"""Validation on clips of `split = val`; afterwards weights, mode and random generators are as before.

Legend for suffixes as in `trainer.model.layers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from trainer.animate.generate import generate
from trainer.animate.side_by_side import write_side_by_side
from trainer.data import Batch, DataSource, Loader, TrainingData, open_training_data
from trainer.data.batch import collate
from trainer.diffusion.loss import training_loss
from trainer.diffusion.schedule import TrainingSchedule
from trainer.latents.frozen import FrozenNetworks
from trainer.model.config import MegActorConfig
from trainer.model.precision import autocast
from trainer.train.config import TrainConfig
from trainer.train.inputs import ModelInputs, draws_of, prepare
from trainer.train.metrics import LossTable
from trainer.train.ranks import Ranks
from trainer.train.state.rng import preserved
from trainer.train.state.train_state import TrainState

_STEP = 2**31  # step number in the key of validation's random numbers; no training step has it


class Validator:
    """Validation loss and sample videos, every time from the same samples and the same noise."""

    def __init__(
        self,
        config: TrainConfig,
        architecture: MegActorConfig,
        sources: Sequence[DataSource],
        frozen: FrozenNetworks,
        ranks: Ranks,
        folder: Path,
    ) -> None:
        """Open the validation clips.

        Raises:
            UserError: there are none.
        """
        self.config, self.architecture, self.frozen = config, architecture, frozen
        self.ranks, self.folder = ranks, folder
        self.data = open_training_data(
            sources, config.data, config.seed, split="val", networks=frozen.networks
        )
        frozen.check(self.data.precomputed)
        self.loader = Loader(
            self.data, config.micro_batch, rank=ranks.rank, ranks=ranks.size, slots=config.validation.samples
        )
        self.schedule = TrainingSchedule(architecture.diffusion)

    def run(self, train_state: TrainState) -> dict[str, float]:
        """Mean loss over all ranks, also by timestep and driver; writes the videos.

        Raises:
            UserError: no clip can be used, or the disk is full.
        """
        with preserved(self.ranks.device), evaluating(train_state), torch.no_grad():
            values = self._loss(train_state)
            if self.ranks.is_main:
                self._remove_withdrawn()
                self._videos(train_state)
        self.ranks.wait()
        return values

    def _loss(self, train_state: TrainState) -> dict[str, float]:
        table = LossTable(self.ranks.device)
        total, samples = 0.0, 0.0
        for batch in self.loader:
            inputs = self._inputs(batch)
            with autocast(self.config.precision, self.ranks.device):
                loss = training_loss(
                    train_state.model,
                    self.schedule,
                    inputs.latents_BFCHW,
                    inputs.conditions,
                    inputs.draws,
                    motion=self.config.stage != "image",
                )
            table.add(loss.samples_B, inputs.draws.timesteps_B, inputs.kinds_B)
            total += float(loss.samples_B.double().sum())
            samples += len(batch)
        total, samples = self.ranks.sums([total, samples])
        return {"validation/loss": total / samples} | {
            f"validation_{name}": value for name, value in table.means(self.ranks).items()
        }

    def _videos(self, train_state: TrainState) -> None:
        frames = self.config.validation.video_frames
        if not self.config.validation.videos or self.frozen.decode is None:
            return
        shown = self.config.data.model_copy(update={"frames": min(frames, int(self._shortest()))})
        data = TrainingData(self.data.clips, None, shown, self.config.seed)
        for slot in range(self.config.validation.videos):
            batch = collate([data.sample(slot)])
            inputs = self._inputs(batch)
            result_F3HW = generate(
                train_state.model,
                self.architecture.diffusion,
                inputs.conditions,
                inputs.draws.noise_BFCHW,
                self.frozen,
                motion=self.config.stage != "image",
                precision=self.config.precision,
            )[0]
            name = f"step-{train_state.step:08d}-{batch.clip_ids[0]}.mp4"
            write_side_by_side(self.folder / name, batch, result_F3HW)

    def _remove_withdrawn(self) -> None:
        """Remove the videos of clips that were withdrawn since the run began."""
        for clip_id in self.data.withdrawn():
            for video in self.folder.glob(f"step-*-{clip_id}.mp4"):
                video.unlink(missing_ok=True)

    def _shortest(self) -> int:
        return min(int(clips.frames_N.min()) for clips in self.data.clips)

    def _inputs(self, batch: Batch) -> ModelInputs:
        channels = self.architecture.model.latent_channels
        draws = draws_of(batch, self.architecture.diffusion, channels, seed=self.config.seed, step=_STEP)
        return prepare(batch, draws, self.frozen, self.ranks.device)


@contextmanager
def evaluating(train_state: TrainState) -> Iterator[None]:
    """Inside the block the model is in evaluation mode with averaged weights; afterwards it is as before."""
    modes = [(module, module.training) for module in train_state.model.modules()]
    train_state.model.eval()
    try:
        with train_state.ema.applied() if train_state.ema is not None else nullcontext():
            yield
    finally:
        for module, training in modes:
            module.training = training
