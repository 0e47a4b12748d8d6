"""What tests of several folders of the trainer share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from datagen.output.paths import Output
from tests.support import SHARED
from tests.trainer.data import made
from tests.trainer.data.made import make_dataset
from trainer.latents.encoders import Encoders
from trainer.latents.load import encoders_of
from trainer.model.config import TINY
from trainer.model.image_encoder import ImageEncoder
from trainer.model.vae import build_vae

SPEC = SHARED / "spec" / "parity"


@pytest.fixture(scope="session")
def parity_folder() -> Path:
    """Stored cases of the published model."""
    if not SPEC.is_dir():
        pytest.skip(f"{SPEC} is absent: the stored cases of the published model are not part of this project")
    return SPEC


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of 128 pixels, the last of `val`; not to be changed."""
    folder = tmp_path_factory.mktemp("footage") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "SIZE", 128)  # what the reference branch of the DrivenEncoder needs
        splits = ("train",) * 5 + ("val",)
        made.make_dataset(folder, 6, frames=34, driving=("video",), splits=splits)
    return folder


@pytest.fixture(scope="session")
def encoders() -> Encoders:
    torch.manual_seed(0)
    return encoders_of(build_vae(TINY.vae), ImageEncoder(TINY.image_encoder), batch=4)


@pytest.fixture(scope="session")
def short_clips(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """Four short clips in two shards; not to be changed."""
    return make_dataset(
        tmp_path_factory.mktemp("short") / "out", 4, frames=[14, 12, 14, 16], clips_per_unit=2
    )


@pytest.fixture
def short_copy(short_clips: Output, tmp_path: Path) -> Output:
    """A copy of them."""
    shutil.copytree(short_clips.root, tmp_path / "out")
    return Output(tmp_path / "out")
