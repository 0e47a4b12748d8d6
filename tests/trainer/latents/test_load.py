"""Encoders from folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from datagen.common.errors import UserError
from tests.trainer.data.made import make_dataset, read_code
from tests.trainer.latents.made import batches
from trainer.latents.encoders import Encoders, complete
from trainer.latents.load import load_encoders
from trainer.model.config import TINY
from trainer.model.image_encoder import ImageEncoder
from trainer.model.vae import build_vae


def test_encoders_of_folders(tmp_path: Path, encoders: Encoders) -> None:
    torch.manual_seed(0)
    build_vae(TINY.vae).save_pretrained(tmp_path / "vae")
    ImageEncoder(TINY.image_encoder).save_pretrained(tmp_path / "clip")
    loaded = load_encoders(tmp_path / "vae", tmp_path / "clip", batch=4)
    assert (loaded.vae, loaded.clip) == (encoders.vae, encoders.clip)
    output = make_dataset(tmp_path / "out", 1)
    for left, right in zip(batches(output, 1), batches(output, 1), strict=True):
        first, second = complete(left, loaded), complete(right, encoders)
        assert first.tokens_BTD is not None and second.tokens_BTD is not None
        assert torch.equal(first.tokens_BTD, second.tokens_BTD)
        assert left.target_BF3HW is not None and read_code(left.target_BF3HW[0, 0].numpy())[0] == 0
    with pytest.raises(UserError):
        load_encoders(tmp_path / "clip", tmp_path / "vae")
    with pytest.raises(UserError):
        load_encoders(tmp_path / "vae", tmp_path)
