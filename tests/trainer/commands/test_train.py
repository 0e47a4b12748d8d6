"""`precompute` and `train` from the command line, on a finished data set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tests.support import call
from tests.trainer.train.runs import SMALL, losses
from trainer.model.image_encoder import ImageEncoder
from trainer.model.vae import build_vae
from trainer.train.job import load_config


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a VAE and a CLIP vision model that fit the tiny model, as diffusers and transformers write them."""
    folder = tmp_path_factory.mktemp("networks")
    architecture = load_config("tiny-joint", SMALL).model.resolve(None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        build_vae(architecture.vae).save_pretrained(folder / "vae")
        ImageEncoder(architecture.image_encoder).save_pretrained(folder / "clip")
    return {"vae": folder / "vae", "clip": folder / "clip"}


def settings(*assignments: str) -> list[str]:
    return [text for value in (*SMALL, "steps=2", *assignments) for text in ("--set", value)]


def said(*words: object) -> str:
    """Run a command that must succeed; returns what it printed."""
    done = call(*words)
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def pixels(
    footage: Path, networks: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[int, float]:
    """Losses of two steps on latents encoded in line."""
    run = tmp_path_factory.mktemp("pixels") / "run"
    both = [f"codec={networks['vae']}", f"image_encoder={networks['clip']}"]
    said("train", "tiny-joint", "--data", footage, "--output", run, *settings(*both))
    return losses(run)


@pytest.mark.parametrize(("dtype", "error"), [("float32", 0.0), ("float16", 1e-3)])
def test_training_from_precomputed_latents_is_training_from_pixels(
    pixels: dict[int, float],
    footage: Path,
    networks: dict[str, Path],
    tmp_path: Path,
    dtype: str,
    error: float,
) -> None:
    out, both = tmp_path / "out", [f"codec={networks['vae']}", f"image_encoder={networks['clip']}"]
    shutil.copytree(footage, out)
    encode = ["precompute", out, "--vae", networks["vae"], "--clip", networks["clip"], "--dtype", dtype]
    assert "6 clips of 2 units encoded, 0 failed" in said(*encode)
    assert "0 clips of 0 units encoded" in said(*encode)

    train = ["train", "tiny-joint", "--data", out, "--output"]
    demanded = "data.precomputed=always"
    said(*train, tmp_path / "checked", *settings(*both, demanded))
    # neither network is needed now
    said(*train, tmp_path / "alone", *settings("codec=vae", "image_encoder=null", demanded))
    assert list(pixels) == [1, 2]
    assert losses(tmp_path / "checked") == losses(tmp_path / "alone")
    assert losses(tmp_path / "alone") == (pytest.approx(pixels, rel=error) if error else pixels)


def test_mistakes_in_training_commands_are_one_error_line(
    footage: Path, networks: dict[str, Path], tmp_path: Path
) -> None:
    base = ["--data", footage, "--output", tmp_path / "run"]
    wide = settings(
        f"codec={networks['vae']}", "model.model.latent_channels=4", "model.vae.latent_channels=4"
    )
    encode = ["--vae", networks["vae"], "--clip", networks["clip"]]
    for arguments, message in (
        (["train", "stage9", *base], "no config 'stage9'"),
        (
            ["train", "stage1", *base, "--set", "model.model.block_out_channels=[32, 32]"],
            "image_encoder=DIR",
        ),
        (["train", "tiny-image", "--data", tmp_path, "--output", tmp_path / "run"], str(tmp_path)),
        (["train", "tiny-image", *base, *settings(), "--where", "nonsense > 1"], "nonsense"),
        (["train", "tiny-image", *base, *settings("optimizer.learning_rate=1")], "optimiser"),
        (["train", "tiny-image", *base, *settings(), "--init", tmp_path / "absent"], "absent"),
        (["train", "tiny-image", *base, *wide], "latent channels 6, the model takes 4"),
        (["precompute", tmp_path / "none", *encode], "none"),
        (["precompute", footage, "--vae", tmp_path, "--clip", networks["clip"]], "config.json"),
        (["precompute", "s3://bucket/set", *encode], "s3:/bucket/set looks like an address"),
        (
            ["train", "tiny-image", "--data", footage, "--output", "gs://bucket/run"],
            "gs:/bucket/run looks like",
        ),
    ):
        done = call(*arguments)
        assert done.exit_code in (1, 2), arguments
        (line,) = done.stderr.strip().splitlines()
        assert message in line and "internal" not in line, line
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_latents_that_do_not_fit_the_model_are_refused(
    footage: Path, networks: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(footage, out)
    said("precompute", out, "--vae", networks["vae"], "--clip", networks["clip"])
    base = ["train", "tiny-image", "--data", out, "--output", tmp_path / "run"]
    plain = ("codec=vae", "image_encoder=null")
    for changed, message in (
        (
            ("model.model.latent_channels=4", "model.vae.latent_channels=4"),
            "(12, 16, 16), the model takes (8, 16, 16)",
        ),
        (("model.model.cross_attention_dim=32", "model.image_encoder.projection_dim=32"), "48 wide"),
    ):
        done = call(*base, *settings(*plain, *changed))
        assert done.exit_code == 1 and message in done.stderr.strip().splitlines()[-1]
