"""Our checkpoint in the published layout, so that others' MegActor code can use it."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError

from datagen.errors import UserError
from trainer.model.layout import to_published
from trainer.weights.checkpoint import load_state
from trainer.weights.tensor_files import write_safetensors


def export_megactor(checkpoint: Path, output: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write `{"epoch", "global_step", "state_dict"}` as `.ckpt`, or the state dict alone as `.safetensors`.

    Names and dtypes are those of the published file when the checkpoint came from there; importing the result gives
    the same tensors bit for bit unless `dtype` rounds them. The frozen VAE and CLIP are not included.

    Args:
        checkpoint: a checkpoint folder.
        output: the file to make; never overwritten.
        dtype: what floating-point weights become; None keeps them.

    Raises:
        UserError: unreadable checkpoint, existing output, unknown suffix, disk full.
    """
    if output.suffix not in (".ckpt", ".safetensors"):
        raise UserError(f"{output}: give a name that ends in .ckpt or .safetensors", code=2)
    if output.exists():
        raise UserError(f"{output} exists; give another --output")
    state = to_published(load_state(checkpoint))
    if dtype is not None:
        state = {name: tensor.to(dtype) for name, tensor in state.items()}
    staging = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.suffix == ".ckpt":
            torch.save({"epoch": 0, "global_step": 0, "state_dict": state}, staging)
        else:
            write_safetensors(staging, state)
        os.replace(staging, output)
    except (OSError, SafetensorError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise UserError(f"cannot write {output}: {str(error).splitlines()[0]}") from error
    finally:
        staging.unlink(missing_ok=True)
