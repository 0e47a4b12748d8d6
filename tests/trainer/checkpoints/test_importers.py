"""Import and export of weights of other projects, with tiny files of the same layouts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from datagen.common.errors import UserError
from tests.support import SHARED
from tests.trainer.checkpoints.made import CONFIG, SIZES, VAE, equal, filled
from trainer.checkpoints.exporter import export_megactor
from trainer.checkpoints.folder import load_info, load_state
from trainer.checkpoints.importers import import_weights, open_source
from trainer.checkpoints.tensor_files import read_tensors
from trainer.model.config import MegActorConfig
from trainer.model.state_dict import REFERENCE_TAIL, is_motion, strip_prefix


def test_published_checkpoint_round_trips_bit_for_bit(published: Path, tmp_path: Path) -> None:
    origins = import_weights(published, tmp_path / "ours")
    assert set(origins.values()) == {"megactor checkpoint-steps9000.ckpt"}
    info = load_info(tmp_path / "ours")
    assert info.config.model.norm_statistics == "clip" and info.config.diffusion.prediction == "epsilon"
    assert info.config.model.block_out_channels == SIZES.block_out_channels
    export_megactor(tmp_path / "ours", tmp_path / "back.ckpt")
    data = torch.load(tmp_path / "back.ckpt", weights_only=True)
    assert data.keys() == {"epoch", "global_step", "state_dict"}
    original = torch.load(published, weights_only=True)["state_dict"]
    trained = {n: t for n, t in original.items() if not n.startswith(("module.vae.", "module.text_encoder."))}
    assert equal(data["state_dict"], trained)
    export_megactor(tmp_path / "ours", tmp_path / "back.safetensors", dtype=torch.float32)
    assert equal(load_file(tmp_path / "back.safetensors"), {n: t.float() for n, t in trained.items()})


def test_sd15_gives_spatial_unet_and_reference_net(sd15: Path, tmp_path: Path) -> None:
    origins = import_weights(sd15, tmp_path / "ours")
    assert origins == {
        "unet_spatial": "sd15 stable-diffusion",
        "reference_net": "sd15 stable-diffusion",
        "motion_modules": "initialised, seed 0",
        "driven_encoder": "initialised, seed 0",
    }
    info, state = load_info(tmp_path / "ours"), load_state(tmp_path / "ours")
    assert info.config.model == SIZES and info.config.vae == VAE
    theirs = load_file(sd15 / "unet" / "diffusion_pytorch_model.safetensors")
    wide = state["unet.conv_in.weight"]
    assert wide.shape == (32, 13, 3, 3)
    assert torch.equal(wide[:, :4], theirs["conv_in.weight"]) and not wide[:, 4:].any()
    assert torch.equal(state["unet.conv_in.bias"], theirs["conv_in.bias"])
    reference = strip_prefix(state, "appearance_encoder.")
    assert equal(reference, {n: t for n, t in theirs.items() if not n.startswith(REFERENCE_TAIL)})
    zeros = [
        n for n, t in state.items() if n.endswith("temporal_transformer.proj_out.weight") and not t.any()
    ]
    assert len(zeros) == 20
    vae = AutoencoderKL.from_pretrained(tmp_path / "ours" / "vae")
    former = load_file(sd15 / "vae" / "diffusion_pytorch_model.safetensors")
    key = "encoder.mid_block.attentions.0"
    assert torch.equal(vae.state_dict()[f"{key}.to_k.weight"], former[f"{key}.key.weight"])
    assert len(vae.state_dict()) == len(former)


def test_importing_motion_modules_keeps_the_other_weights(
    sd15: Path, layout: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    motion = {n: s for n, s in strip_prefix(layout, "unet.").items() if is_motion(n)}
    modules = filled(motion)
    torch.save({f"module.{name}": tensor for name, tensor in modules.items()}, tmp_path / "v3.ckpt")
    import_weights(sd15, tmp_path / "start")
    origins = import_weights(tmp_path / "v3.ckpt", tmp_path / "both", base=tmp_path / "start")
    assert origins["motion_modules"] == "animatediff-v3 v3.ckpt"
    assert origins["unet_spatial"] == "sd15 stable-diffusion"
    start, both = load_state(tmp_path / "start"), load_state(tmp_path / "both")
    assert all(torch.equal(both[f"unet.{name}"], tensor) for name, tensor in modules.items())
    assert all(torch.equal(both[name], start[name]) for name in start if not is_motion(name))
    assert (tmp_path / "both" / "vae" / "config.json").is_file()


def test_single_components_are_recognised(layout: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
    reference = filled(strip_prefix(layout, "appearance_encoder."))
    (tmp_path / "appearance_encoder").mkdir()
    save_file(reference, tmp_path / "appearance_encoder" / "diffusion_pytorch_model.safetensors")
    motion = {n: s for n, s in strip_prefix(layout, "unet.").items() if is_motion(n)}
    save_file(filled(motion), tmp_path / "motion.safetensors")
    assert open_source(tmp_path / "appearance_encoder").kind == "appearance-encoder"
    assert open_source(tmp_path / "motion.safetensors").kind == "animatediff-v3"
    origins = import_weights(tmp_path / "appearance_encoder", tmp_path / "ours", seed=5)
    assert origins["reference_net"].startswith("appearance-encoder")
    assert origins["unet_spatial"] == "initialised, seed 5"
    assert equal(strip_prefix(load_state(tmp_path / "ours"), "appearance_encoder."), reference)


def test_a_config_that_does_not_fit_the_base_is_one_line(sd15: Path, tmp_path: Path) -> None:
    import_weights(sd15, tmp_path / "start")
    wide = MegActorConfig(replace(SIZES, layers_per_block=3), VAE, CONFIG.image_encoder)
    with pytest.raises(UserError, match=r"does not fit the model: \d+ missing"):
        import_weights(sd15, tmp_path / "wide", base=tmp_path / "start", config=wide)
    with pytest.raises(UserError, match="never overwritten"):
        import_weights(sd15, tmp_path / "start")


@pytest.mark.parametrize("fault", ["missing", "unexpected", "shape"])
def test_names_and_shapes_that_differ_are_listed(
    fault: str, layout: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    motion = {n: s for n, s in strip_prefix(layout, "unet.").items() if is_motion(n)}
    state = filled(motion)
    name = "up_blocks.1.motion_modules.0.temporal_transformer.proj_in.weight"
    if fault == "missing":
        del state[name]
    elif fault == "unexpected":
        name = "mid_block.motion_modules.0.temporal_transformer.proj_in.weight"
        state[name] = torch.ones(2)
    else:
        state[name] = torch.ones(2, 2)
    torch.save({"state_dict": state}, tmp_path / "mm.ckpt")
    with pytest.raises(UserError, match=f"1 (missing|unexpected|of another shape): {name}"):
        import_weights(tmp_path / "mm.ckpt", tmp_path / "ours")
    assert not list(tmp_path.glob("*ours*"))


@pytest.mark.parametrize(
    ("kind", "name", "shape"),
    [
        ("appearance-encoder", "conv_in.weight", (1,)),
        ("appearance-encoder", "down_blocks.0.resnets.0.conv2.weight", ()),
        ("appearance-encoder", "conv_in.weight", (0, 0, 0, 0)),
        ("megactor", "module.unet.conv_out.weight", ()),
        ("megactor", "module.unet.condition_input_layer.spatial_conv_out.weight", ()),
        ("animatediff-v3", "down_blocks.0.motion_modules.0.pos_encoder.pe", (1,)),
        ("animatediff-v3", "down_blocks.0.motion_modules.0.temporal_transformer.norm.weight", (10**6 + 1,)),
    ],
)
def test_a_tensor_of_another_rank_or_size_is_one_error_line(
    kind: Any, name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    """It is the only tensor of the file, so that the sizes of the model come from its shape."""
    save_file({name: torch.zeros(shape)}, tmp_path / "flat.safetensors")
    for given in (kind, None):
        with pytest.raises(UserError, match=r"flat\.safetensors"):
            import_weights(tmp_path / "flat.safetensors", tmp_path / "ours", kind=given)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("in_channels", "x"),
        ("block_out_channels", 3),
        ("block_out_channels", [32, -32]),
        ("layers_per_block", 10**9),
        ("attention_head_dim", 0),
        ("norm_num_groups", None),
    ],
)
def test_impossible_sizes_are_one_error_line(key: str, value: Any, sd15: Path, tmp_path: Path) -> None:
    shutil.copytree(sd15, tmp_path / "sd")
    file = tmp_path / "sd" / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(UserError, match="give"):
        import_weights(tmp_path / "sd", tmp_path / "ours")


def test_weights_that_share_memory_are_written_separately(
    layout: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    state = filled({n: s for n, s in strip_prefix(layout, "unet.").items() if is_motion(n)})
    first = next(iter(state))
    second = next(n for n in state if n != first and state[n].shape == state[first].shape)
    state[second] = state[first]
    torch.save(state, tmp_path / "mm.ckpt")
    import_weights(tmp_path / "mm.ckpt", tmp_path / "ours")
    found = load_state(tmp_path / "ours")
    assert torch.equal(found[f"unet.{first}"], state[first])
    assert torch.equal(found[f"unet.{second}"], state[first])


def test_published_tiny_layout_of_the_spec(tmp_path: Path) -> None:
    """Names and shapes that the original code makes at its tiny size."""
    path = SHARED / "spec" / "parity" / "tiny_layout.json"
    if not path.is_file():
        pytest.skip("the parity data of the specification are not there")
    shapes = json.loads(path.read_text())["shapes"]
    state = {
        f"module.{part}.{name}": torch.zeros(shape, dtype=torch.float16)
        for part in ("unet", "appearance_encoder")
        for name, shape in shapes[part].items()
    }
    torch.save({"epoch": 0, "global_step": 1, "state_dict": state}, tmp_path / "tiny.ckpt")
    import_weights(tmp_path / "tiny.ckpt", tmp_path / "ours")
    assert load_info(tmp_path / "ours").config.image_encoder.projection_dim == 48
    export_megactor(tmp_path / "ours", tmp_path / "back.ckpt")
    assert equal(read_tensors(tmp_path / "back.ckpt"), state)
