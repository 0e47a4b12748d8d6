"""Others' files become checkpoints and go back, on tiny files of the same layouts."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from datagen.common.errors import UserError
from tests.support import SHARED
from trainer.checkpoints.exporter import export_megactor
from trainer.checkpoints.folder import load_info, load_model, load_state, save_checkpoint
from trainer.checkpoints.importers import import_weights, open_source
from trainer.checkpoints.initial import initial_state
from trainer.checkpoints.tensor_files import read_tensors
from trainer.checkpoints.vae import read_vae
from trainer.commands.weights import app
from trainer.model.config import ImageEncoderConfig, MegActorConfig, ModelConfig, VAEConfig
from trainer.model.state_dict import REFERENCE_TAIL, is_driven, is_motion, model_layout, strip_prefix
from trainer.model.vae import build_vae

SIZES = ModelConfig(block_out_channels=(32, 32, 64, 64), cross_attention_dim=24)
VAE = VAEConfig(block_out_channels=(32, 32), layers_per_block=1, sample_size=16)
CONFIG = MegActorConfig(SIZES, VAE, ImageEncoderConfig(64, 128, 3, 4, projection_dim=24))


def filled(shapes: dict[str, tuple[int, ...]], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Random tensors, other ones for every name."""
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        first[n].dtype == second[n].dtype and torch.equal(first[n], second[n]) for n in first
    )


@pytest.fixture(scope="module")
def layout() -> dict[str, tuple[int, ...]]:
    return model_layout(SIZES)


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, layout: dict[str, tuple[int, ...]]) -> Path:
    """A file like the published one: fp16, prefixed, frozen parts within."""
    path = tmp_path_factory.mktemp("published") / "checkpoint-steps9000.ckpt"
    state = {f"module.{name}": tensor for name, tensor in filled(layout, torch.float16).items()}
    state |= {"module.vae.encoder.conv_in.weight": torch.ones(3), "module.text_encoder.weight": torch.ones(3)}
    torch.save({"epoch": 3, "global_step": 9000, "state_dict": state}, path)
    return path


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


def test_composition_keeps_what_the_base_has(
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


def test_parts_alone_are_recognised(layout: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
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


def test_initialisation_depends_on_the_seed_alone(layout: dict[str, tuple[int, ...]]) -> None:
    names = [name for name in layout if is_driven(name) or is_motion(name)]
    before = torch.random.get_rng_state()
    first = initial_state(SIZES, names, 1)
    assert equal(first, initial_state(SIZES, names, 1)) and first.keys() == set(names)
    alone = initial_state(SIZES, [name for name in names if is_motion(name)], 1)
    assert equal(alone, {name: first[name] for name in alone})
    assert not equal(first, initial_state(SIZES, names, 2))
    assert torch.equal(torch.random.get_rng_state(), before)


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
def test_a_tensor_of_another_rank_or_size_is_one_line(
    kind: Any, name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    """Alone in a file, so that nothing but the file's own shapes says what the model is."""
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
def test_sizes_that_no_model_has_are_one_line(key: str, value: Any, sd15: Path, tmp_path: Path) -> None:
    shutil.copytree(sd15, tmp_path / "sd")
    file = tmp_path / "sd" / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(UserError, match="give"):
        import_weights(tmp_path / "sd", tmp_path / "ours")


@pytest.mark.parametrize(
    ("key", "value"), [("block_out_channels", 3), ("layers_per_block", 10**9), ("norm_num_groups", 0)]
)
def test_a_vae_that_cannot_be_built_is_one_line(key: str, value: Any, sd15: Path, tmp_path: Path) -> None:
    shutil.copytree(sd15 / "vae", tmp_path / "vae")
    file = tmp_path / "vae" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(UserError, match="describes no AutoencoderKL"):
        read_vae(tmp_path / "vae")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensor: tensor.long(), "1 not of floating point"),
        (lambda tensor: tensor.to_sparse(), "no plain tensors"),
        (lambda tensor: torch.zeros(1).expand(tensor.shape), "no plain tensors"),  # a small file, any size
    ],
)
def test_tensors_that_are_no_weights_are_one_line(
    change: Any, message: str, layout: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    state = filled({n: s for n, s in strip_prefix(layout, "unet.").items() if is_motion(n)})
    name = next(iter(state))
    state[name] = change(state[name])
    torch.save(state, tmp_path / "mm.ckpt")
    with pytest.raises(UserError, match=f"{message}: {name}"):
        import_weights(tmp_path / "mm.ckpt", tmp_path / "ours")


def test_weights_that_share_memory_are_written_apart(
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


class _Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("modern", [True, False])
def test_malicious_pickle_is_refused(wrapped: bool, modern: bool, tmp_path: Path) -> None:
    """It would create a file; neither torch's zip format nor a bare pickle gets to."""
    path, proof = tmp_path / "evil.ckpt", tmp_path / "proof"
    payload: Any = {"state_dict": {"module.unet.conv_in.bias": _Evil(proof)}} if wrapped else _Evil(proof)
    if modern:
        torch.save(payload, path)
    else:
        path.write_bytes(pickle.dumps(payload))
    result = CliRunner().invoke(app, ["import", "megactor", str(path), "--output", str(tmp_path / "ours")])
    assert isinstance(result.exception, UserError)
    assert "was refused" in str(result.exception) and "\n" not in str(result.exception)
    assert not proof.exists() and not (tmp_path / "ours").exists()
    pickle.loads(pickle.dumps(_Evil(proof)))
    assert proof.exists()  # it was a live one


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.ckpt", b"", "cannot be read as a torch checkpoint"),
        ("text.ckpt", b"not a checkpoint", "was refused|cannot be read"),
        ("torn.safetensors", b"\xff" * 40, "is not a whole safetensors file"),
        ("model.onnx", b"x", "unknown kind of file"),
    ],
)
def test_damaged_files_are_one_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        import_weights(tmp_path / name, tmp_path / "ours")


def test_truncated_checkpoint_is_one_line(published: Path, tmp_path: Path) -> None:
    path = tmp_path / "torn.ckpt"
    path.write_bytes(published.read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"torn\.ckpt"):
        import_weights(path, tmp_path / "ours")


def test_large_components_are_sharded_and_read_back(
    layout: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    state = filled(layout)
    save_checkpoint(tmp_path / "ours", CONFIG, state, {"unet_spatial": "here"}, shard_bytes=20_000_000)
    names = sorted(path.name for path in (tmp_path / "ours" / "unet").iterdir())
    assert names[-1] == "model.safetensors.index.json" and names[0].startswith("model-00001-of-0000")
    assert equal(load_state(tmp_path / "ours"), state)
    (tmp_path / "ours" / "unet" / names[0]).unlink()
    with pytest.raises(UserError, match=r"model-00001-of-0000\d.safetensors is not there"):
        load_state(tmp_path / "ours")


def test_saving_is_atomic_and_never_overwrites(
    layout: dict[str, tuple[int, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = filled(layout)
    with pytest.raises(UserError, match=r"1 missing: unet\.conv_in\.bias"):
        save_checkpoint(
            tmp_path / "ours", CONFIG, {n: t for n, t in state.items() if n != "unet.conv_in.bias"}, {}
        )

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("trainer.checkpoints.tensor_files.save_file", full)
        with pytest.raises(UserError, match=r"cannot write .*No space left"):
            save_checkpoint(tmp_path / "ours", CONFIG, state, {})
    assert list(tmp_path.iterdir()) == []
    save_checkpoint(tmp_path / "ours", CONFIG, state, {})
    with pytest.raises(UserError, match="never overwritten"):
        save_checkpoint(tmp_path / "ours", CONFIG, state, {})


def test_model_is_built_with_its_weights(layout: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
    state = filled(layout)
    save_checkpoint(tmp_path / "ours", CONFIG, state, {})
    model = load_model(tmp_path / "ours")
    assert equal(dict(model.state_dict()), state)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert {p.dtype for p in load_model(tmp_path / "ours", dtype=torch.bfloat16).parameters()} == {
        torch.bfloat16
    }


def test_command_line_round_trip(published: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    first, second = str(tmp_path / "a"), str(tmp_path / "b")
    assert (
        runner.invoke(app, ["import", str(published), "--output", first, "--dtype", "float32"]).exit_code == 0
    )
    assert {t.dtype for t in load_state(tmp_path / "a").values()} == {torch.float32}
    exported = str(tmp_path / "out.ckpt")
    assert runner.invoke(app, ["export", first, "--layout", "megactor", "--output", exported]).exit_code == 0
    assert runner.invoke(app, ["import", "megactor", exported, "--output", second]).exit_code == 0
    assert equal(load_state(tmp_path / "a"), load_state(tmp_path / "b"))
    for wrong in (["import", "flux", exported], ["import", exported, "--dtype", "int8"]):
        result = runner.invoke(app, [*wrong, "--output", str(tmp_path / "c")])
        assert isinstance(result.exception, UserError) and result.exception.code == 2


def test_a_fetched_weight_is_named_instead_of_its_path(
    layout: dict[str, tuple[int, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEGACTOR_DATAGEN_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "usb" / "appearance_encoder"
    source.mkdir(parents=True)
    save_file(
        filled(strip_prefix(layout, "appearance_encoder.")), source / "diffusion_pytorch_model.safetensors"
    )
    (source / "config.json").write_text("{}")
    runner = CliRunner()
    fetch = ["fetch", "magicanimate-appearance", "--from", str(tmp_path / "usb"), "--allow-noncommercial"]
    assert runner.invoke(app, fetch).exit_code == 0
    command = ["import", "magicanimate-appearance", "--output", str(tmp_path / "ours")]
    assert runner.invoke(app, command).exit_code == 0
    assert load_info(tmp_path / "ours").origins["reference_net"].startswith("appearance-encoder")


def test_published_tiny_layout_of_the_spec(tmp_path: Path) -> None:
    """The names and shapes the original's own code makes at its tiny size."""
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
