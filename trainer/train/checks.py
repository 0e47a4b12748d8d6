"""What is checked before a run starts: worker count, compiler, clip size and stored latents."""

from __future__ import annotations

import os
import shutil

from datagen.common.errors import UserError
from trainer.data.clips import Clips
from trainer.data.errors import DamagedFileError
from trainer.model.config import MegActorConfig
from trainer.model.vae import LATENT
from trainer.train.config import TrainConfig
from trainer.train.ranks import Ranks

SMALLEST = 128  # side of a clip in pixels; smaller ones leave the DrivenEncoder's reference branch no pixels


def check_compiler(config: TrainConfig, ranks: Ranks) -> None:
    """Check that there is a compiler where layers are compiled: C++ on a CPU, C on a GPU."""
    variable, usual = ("CC", "gcc") if ranks.device.type == "cuda" else ("CXX", "g++")
    if config.compile and shutil.which(os.environ.get(variable, usual)) is None:
        raise UserError(
            f"compile = true needs a compiler; install {usual}, or give --set compile=false", code=2
        )


def check_latents(architecture: MegActorConfig, clips: Clips) -> None:
    """Check that precomputed latents and tokens, where there are any, have the model's size."""
    if clips.latents is None:
        return
    model, side = architecture.model, clips.size // LATENT
    ours = (2 * model.latent_channels, side, side)
    if clips.latents.shape != ours:
        raise UserError(
            f"the precomputed moments of {clips.store.uri} have shape {clips.latents.shape}, the model takes {ours}"
        )
    try:
        width = clips.latents.reference(0, 0).tokens.shape[-1]
    except (DamagedFileError, UserError):
        return  # one bad clip, which the loader skips and counts
    if width != model.cross_attention_dim:
        raise UserError(
            f"the precomputed tokens of {clips.store.uri} are {width} wide, the model takes {model.cross_attention_dim}"
        )


def check_size(architecture: MegActorConfig, size: int) -> None:
    """Check that the model takes clips of this size."""
    locked = architecture.model.reference_size
    if locked is not None and size != locked:
        raise UserError(
            f"the data's clips have {size} pixels, but the model takes {locked} only; "
            f"set model.model.reference_size=null for any size, or make clips of that size"
        )
    if size < SMALLEST:
        raise UserError(f"the data's clips have {size} pixels; the DrivenEncoder needs {SMALLEST} or more")


def per_rank_config(config: TrainConfig, ranks: int) -> TrainConfig:
    """The config of each of `ranks` workers.

    Raises:
        UserError: they cannot share the batch evenly.
    """
    try:
        return config.shared(ranks)
    except ValueError as error:
        raise UserError(str(error), code=2) from error
