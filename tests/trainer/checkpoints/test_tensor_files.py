"""Hostile and damaged files of tensors give a one-line error."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from datagen.common.errors import UserError
from tests.trainer.checkpoints.made import filled
from trainer.checkpoints.importers import import_weights
from trainer.commands.weights import app
from trainer.model.state_dict import is_motion, strip_prefix


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensor: tensor.long(), "1 not of floating point"),
        (lambda tensor: tensor.to_sparse(), "no plain tensors"),
        (lambda tensor: torch.zeros(1).expand(tensor.shape), "no plain tensors"),  # a small file, any size
    ],
)
def test_tensors_that_are_not_weights_give_a_one_line_error(
    change: Any, message: str, layout: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    state = filled({n: s for n, s in strip_prefix(layout, "unet.").items() if is_motion(n)})
    name = next(iter(state))
    state[name] = change(state[name])
    torch.save(state, tmp_path / "mm.ckpt")
    with pytest.raises(UserError, match=f"{message}: {name}"):
        import_weights(tmp_path / "mm.ckpt", tmp_path / "ours")


class _Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("modern", [True, False])
def test_a_malicious_pickle_is_refused(wrapped: bool, modern: bool, tmp_path: Path) -> None:
    """The pickle would create a file; it is not run, neither in torch's zip format nor as a bare pickle."""
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
    assert proof.exists()  # without the check the pickle does run


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.ckpt", b"", "cannot be read as a torch checkpoint"),
        ("text.ckpt", b"not a checkpoint", "was refused|cannot be read"),
        ("torn.safetensors", b"\xff" * 40, "is not a complete safetensors file"),
        ("model.onnx", b"x", "unknown kind of file"),
    ],
)
def test_damaged_files_give_a_one_line_error(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        import_weights(tmp_path / name, tmp_path / "ours")


def test_a_truncated_checkpoint_is_one_error_line(published: Path, tmp_path: Path) -> None:
    path = tmp_path / "torn.ckpt"
    path.write_bytes(published.read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"torn\.ckpt"):
        import_weights(path, tmp_path / "ours")
