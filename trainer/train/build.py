"""Builds everything a run needs from what the user asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from torch import Tensor

from datagen.common.errors import UserError
from datagen.common.staging import make_folder
from trainer.checkpoints.folder import ensure_fits, layout_of, load_info, load_state
from trainer.checkpoints.initial import initial_state
from trainer.checkpoints.vae import VAEWeights, read_vae
from trainer.data import Loader, open_training_data
from trainer.latents.frozen import FrozenNetworks, load_frozen
from trainer.model.config import MegActorConfig
from trainer.model.megactor import STAGE_GROUPS
from trainer.train.checks import check_compiler, check_latents, check_size, per_rank_config
from trainer.train.config import TrainConfig
from trainer.train.cost import Cost, estimate, start_table
from trainer.train.job import Job
from trainer.train.metrics import Say
from trainer.train.ranks import Ranks
from trainer.train.resume import newest_checkpoint, resume
from trainer.train.state import checkpoint, rng
from trainer.train.state.train_state import TrainState
from trainer.train.validate import Validator


@dataclass(frozen=True)
class Components:
    """What the loop works with.

    Attributes:
        train_state: model, optimiser, averages.
        loader: batches of this rank, from the run's position on.
        frozen: encoders and decoder.
        validator: None without validation.
        cost: estimated cost of a step.
        origins: the source of each parameter group's weights.
        vae: the VAE that came with the weights, to be saved with every checkpoint.
    """

    train_state: TrainState
    loader: Loader
    frozen: FrozenNetworks
    validator: Validator | None
    cost: Cost
    origins: dict[str, str]
    vae: VAEWeights | None


@dataclass(frozen=True)
class _Start:
    """Weights that a run starts from; `folder` is the checkpoint they came from, if any."""

    architecture: MegActorConfig
    state: Mapping[str, Tensor]
    origins: dict[str, str]
    folder: Path | None


def build(job: Job, ranks: Ranks, say: Say) -> Components:
    """Open the data, build the model, and resume from the newest checkpoint if asked to.

    Raises:
        UserError: the job cannot be done.
    """
    if not ranks.is_main:
        say = _ignore
    resumed = newest_checkpoint(job, ranks, say)
    start = _start(job, resumed)
    architecture = start.architecture
    config = _with_clip_size(per_rank_config(job.config, ranks.size), architecture)
    check_compiler(config, ranks)
    own_vae = _vae_of(start.folder)
    frozen = load_frozen(config.codec, config.image_encoder, architecture, ranks.device, own_vae)
    data = open_training_data(job.sources, config.data, config.seed, networks=frozen.networks)
    frozen.check(data.precomputed)
    check_latents(architecture, data.clips[0])
    check_size(architecture, data.clips[0].size)
    cost = estimate(config, architecture, data.clips[0].size)
    clips = sum(len(clips) for clips in data.clips)
    say(start_table(cost, config, architecture, ranks.size, clips))
    for note in data.notes:
        say(note)

    train_state = TrainState(config, architecture, start.state, ranks)
    loader = Loader(
        data,
        config.micro_batch,
        rank=ranks.rank,
        ranks=ranks.size,
        workers=config.loader_workers,
        pin_memory=ranks.device.type == "cuda",
    )
    rng.seed_all(config.seed, train_state.step, ranks.rank)
    if resumed is not None:
        for note in resume(resumed, config, train_state, loader, ranks):
            say(note)
    validator = _validator(job, config, architecture, frozen, ranks, say)
    if ranks.is_main:
        _write_config(job)
    return Components(
        train_state=train_state,
        loader=loader,
        frozen=frozen,
        validator=validator,
        cost=cost,
        origins=start.origins,
        vae=read_vae(own_vae) if own_vae is not None and ranks.is_main else None,
    )


def _write_config(job: Job) -> None:
    """Make the run's folder, with its config."""
    try:
        make_folder(job.output / "checkpoints")
        text = yaml.safe_dump(job.config.model_dump(mode="json"), sort_keys=False)
        (job.output / "config.yaml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to {job.output}: {error.strerror}") from error


def _start(job: Job, resumed: Path | None) -> _Start:
    config = job.config
    folder = resumed / "model" if resumed is not None else job.init and checkpoint.usable_weights(job.init)
    if folder is not None:
        info = load_info(folder)
        architecture = _resolve(config, info.config)
        trained = STAGE_GROUPS[config.stage]
        origins = {
            group: f"{origin}, trained" if group in trained and not origin.endswith("trained") else origin
            for group, origin in info.origins.items()
        }
        state = load_state(folder)
        ensure_fits(state, architecture, f"{folder}, with the changes of the config,")
        return _Start(architecture, state, origins, folder)
    architecture = _resolve(config, None)
    state = initial_state(architecture.model, layout_of(architecture.model), config.seed)
    groups = ("unet_spatial", "motion_modules", "driven_encoder", "reference_net")
    return _Start(architecture, state, dict.fromkeys(groups, "initialised"), None)


def _resolve(config: TrainConfig, base: MegActorConfig | None) -> MegActorConfig:
    try:
        return config.model.resolve(base)
    except (ValueError, TypeError) as error:
        raise UserError(f"model: {error}", code=2) from error


def _with_clip_size(config: TrainConfig, architecture: MegActorConfig) -> TrainConfig:
    """The config with CLIP's input image in the size that the image encoder takes."""
    data = config.data.model_copy(update={"clip_size": architecture.image_encoder.image_size})
    return config.model_copy(update={"data": data})


def _vae_of(folder: Path | None) -> Path | None:
    if folder is None or not (folder / "vae" / "config.json").is_file():
        return None
    return folder / "vae"


def _validator(
    job: Job,
    config: TrainConfig,
    architecture: MegActorConfig,
    frozen: FrozenNetworks,
    ranks: Ranks,
    say: Say,
) -> Validator | None:
    if not config.validation.every:
        return None
    try:
        return Validator(config, architecture, job.sources, frozen, ranks, job.output / "samples")
    except UserError as error:
        say(f"no validation: {error}")
        return None


def _ignore(text: str) -> None:
    """For all ranks but the main one, which alone prints."""
