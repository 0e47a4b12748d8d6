"""Looks at clips of `split = val` without touching the training: weights, mode and generators are as before.

Legend for suffixes as in `trainer.model.layers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from datagen.common.errors import UserError
from datagen.media import encode
from trainer.data import Batch, DataSource, Loader, TrainingData, open_training_data
from trainer.data.batch import collate
from trainer.diffusion.loss import training_loss
from trainer.diffusion.sampler import sample
from trainer.diffusion.schedule import TrainingSchedule
from trainer.latents.frozen import FrozenNetworks
from trainer.model.config import DiffusionConfig, MegActorConfig
from trainer.model.megactor import MegActor
from trainer.model.precision import autocast
from trainer.train.config import TrainConfig
from trainer.train.inputs import ModelInputs, draws_of, prepare
from trainer.train.metrics import LossTable
from trainer.train.ranks import Ranks
from trainer.train.state.rng import untouched
from trainer.train.state.train_state import TrainState

_STEP = 2**31  # the key of validation's random numbers: no training step has it


class Validator:
    """Validation loss and sample videos, from the same samples and the same noise every time."""

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
        with untouched(self.ranks.device), evaluating(train_state), torch.no_grad():
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
                train_state.model, self.architecture.diffusion, inputs, self.frozen, self.config
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
    """The model is in evaluation mode with averaged weights inside the block, and afterwards as it was."""
    modes = [(module, module.training) for module in train_state.model.modules()]
    train_state.model.eval()
    try:
        with train_state.ema.applied() if train_state.ema is not None else nullcontext():
            yield
    finally:
        for module, training in modes:
            module.training = training


def generate(
    model: MegActor,
    diffusion: DiffusionConfig,
    inputs: ModelInputs,
    frozen: FrozenNetworks,
    config: TrainConfig,
) -> Tensor:
    """Sampled videos (B F 3 H W) in [0, 1], from the draws' noise, as the config's stage samples them."""
    assert frozen.decode is not None
    with torch.no_grad(), autocast(config.precision, inputs.latents_BFCHW.device):
        latents_BFCHW = sample(
            model, diffusion, inputs.conditions, inputs.draws.noise_BFCHW, motion=config.stage != "image"
        )
    images = frozen.decode(latents_BFCHW.float().flatten(0, 1))
    return images.unflatten(0, latents_BFCHW.shape[:2])


def write_side_by_side(path: Path, batch: Batch, *videos_F3HW: Tensor) -> None:
    """Reference | driver | the given videos (in [0, 1]) of a batch of one clip.

    Raises:
        UserError: it cannot be written.
    """
    frames = batch.driver_BF1HW.shape[1]
    reference_F3HW = batch.reference_B3HW[:1].expand(frames, -1, -1, -1)
    driver_F3HW = batch.driver_BF1HW[0].expand(-1, 3, -1, -1)
    shown = [(video * 255).round().byte().cpu() for video in videos_F3HW]
    wide_FHW3 = torch.cat([reference_F3HW, driver_F3HW, *shown], dim=3).movedim(1, -1).contiguous().numpy()
    step = int(batch.indices_BF[0].diff().float().mean()) if frames > 1 else 1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        encode(
            wide_FHW3, float(batch.fps_B[0]) / step, path, comment="synthetic: made by a model in training"
        )
    except OSError as error:
        raise UserError(f"cannot write {path}: {error}") from error
