"""VAE folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from datagen.common.errors import UserError
from trainer.checkpoints.vae import read_vae


@pytest.mark.parametrize(
    ("key", "value"), [("block_out_channels", 3), ("layers_per_block", 10**9), ("norm_num_groups", 0)]
)
def test_a_vae_that_cannot_be_built_is_one_error_line(
    key: str, value: Any, sd15: Path, tmp_path: Path
) -> None:
    shutil.copytree(sd15 / "vae", tmp_path / "vae")
    file = tmp_path / "vae" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(UserError, match="describes no AutoencoderKL"):
        read_vae(tmp_path / "vae")
