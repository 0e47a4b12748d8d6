"""Exports a checkpoint in the published layout, which MegActor's own code reads."""

from __future__ import annotations

from pathlib import Path

import torch

from datagen.common.errors import UserError
from datagen.common.staging import refuse_existing, staged
from trainer.checkpoints.folder import load_state
from trainer.checkpoints.tensor_files import write_safetensors
from trainer.model.state_dict import to_published


def export_megactor(checkpoint: Path, output: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write `{"epoch", "global_step", "state_dict"}` as `.ckpt`, or the state dict alone as `.safetensors`.

    Names and dtypes are those of the published file when the checkpoint came from there; importing the result gives
    the same tensors bit for bit unless `dtype` rounds them. The frozen VAE and CLIP are not included.

    Args:
        checkpoint: a checkpoint folder.
        output: the file to make; never overwritten.
        dtype: type to which weights are converted; None keeps theirs.

    Raises:
        UserError: unreadable checkpoint, existing output, unknown suffix, disk full.
    """
    if output.suffix not in (".ckpt", ".safetensors"):
        raise UserError(f"{output}: give a name that ends in .ckpt or .safetensors", code=2)
    refuse_existing(output)
    state = to_published(load_state(checkpoint))
    if dtype is not None:
        state = {name: tensor.to(dtype) for name, tensor in state.items()}
    with staged(output) as staging:
        if output.suffix == ".safetensors":
            write_safetensors(staging, state)
            return
        try:
            torch.save({"epoch": 0, "global_step": 0, "state_dict": state}, staging)
        except RuntimeError as error:  # torch's error for a full disk
            raise UserError(f"cannot write {output}: {str(error).splitlines()[0]}") from error
