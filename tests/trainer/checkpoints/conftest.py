"""Small weight files in the layouts of other projects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.trainer.checkpoints.made import SIZES, VAE, filled
from trainer.model.state_dict import is_driven, is_motion, model_layout, strip_prefix
from trainer.model.vae import build_vae


@pytest.fixture(scope="session")
def layout() -> dict[str, tuple[int, ...]]:
    return model_layout(SIZES)


@pytest.fixture(scope="session")
def sd15(tmp_path_factory: pytest.TempPathFactory, layout: dict[str, tuple[int, ...]]) -> Path:
    """A diffusers folder: UNet in 4 channels, VAE."""
    folder = tmp_path_factory.mktemp("sd") / "stable-diffusion"
    shapes = {n: s for n, s in strip_prefix(layout, "unet.").items() if not is_motion(n) and not is_driven(n)}
    shapes["conv_in.weight"] = (32, 4, 3, 3)
    (folder / "unet").mkdir(parents=True)
    save_file(filled(shapes), folder / "unet" / "diffusion_pytorch_model.safetensors")
    config = {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [32, 32, 64, 64],
        "layers_per_block": 2,
        "attention_head_dim": 8,
        "cross_attention_dim": 24,
        "norm_num_groups": 32,
    }
    (folder / "unet" / "config.json").write_text(json.dumps(config))
    vae = build_vae(VAE)
    vae.save_pretrained(folder / "vae")
    old = {
        "to_q": "query",
        "to_k": "key",
        "to_v": "value",
        "to_out.0": "proj_attn",
    }  # as the real file has them
    state = {}
    for name, tensor in vae.state_dict().items():
        for new, former in old.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{former}.")
        state[name] = tensor
    save_file(state, folder / "vae" / "diffusion_pytorch_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory, layout: dict[str, tuple[int, ...]]) -> Path:
    """A file like the published one: fp16, prefixed names, with frozen parts."""
    path = tmp_path_factory.mktemp("published") / "checkpoint-steps9000.ckpt"
    state = {f"module.{name}": tensor for name, tensor in filled(layout, torch.float16).items()}
    state |= {"module.vae.encoder.conv_in.weight": torch.ones(3), "module.text_encoder.weight": torch.ones(3)}
    torch.save({"epoch": 3, "global_step": 9000, "state_dict": state}, path)
    return path
