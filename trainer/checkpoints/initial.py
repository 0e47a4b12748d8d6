"""Initial weights, one part of the model at a time, so that parts with pretrained weights are not initialised too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from datagen.common.seeding import seed_of
from trainer.model.config import ModelConfig
from trainer.model.denoiser import Denoiser
from trainer.model.driven_encoder import DrivenEncoder
from trainer.model.megactor import MegActor
from trainer.model.reference_net import ReferenceNet
from trainer.model.temporal import MotionModule


def initial_state(config: ModelConfig, names: Collection[str], seed: int) -> dict[str, Tensor]:
    """Tensors for some names of the model, as the model's constructors initialise them; float32.

    Each part draws from a generator of its own (seed, part), so a part does not depend on which other parts are made.
    """
    state: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=[]):
        for prefix, build in _parts(config):
            wanted = {name for name in names if name.startswith(prefix) and name not in state}
            if wanted:
                torch.manual_seed(seed_of(seed, prefix) % 2**63)
                made = build().state_dict(prefix=prefix)
                state |= {name: made[name] for name in wanted}
    return state


def _parts(config: ModelConfig) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """Prefix and constructor of every part, small ones first."""
    with torch.device("meta"):
        skeleton = MegActor(config)
    yield "unet.condition_input_layer.", partial(DrivenEncoder, config.driven_channels, config.reference_size)
    for name, module in skeleton.named_modules():
        if isinstance(module, MotionModule):
            channels = module.temporal_transformer.proj_in.in_features
            heads, groups = config.attention_heads, config.norm_num_groups
            yield f"{name}.", partial(MotionModule, channels, heads, groups, config.max_frames)
    yield "unet.", partial(Denoiser, config)
    yield "appearance_encoder.", partial(ReferenceNet, config)
