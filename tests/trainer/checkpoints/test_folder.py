"""Our checkpoint folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from datagen.common.errors import UserError
from tests.trainer.checkpoints.made import CONFIG, equal, filled
from trainer.checkpoints.folder import load_model, load_state, save_checkpoint


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
