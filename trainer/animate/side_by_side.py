"""A video that shows reference, driver and results beside each other."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from datagen.common.errors import UserError
from datagen.media import encode
from trainer.data import Batch


def write_side_by_side(path: Path, batch: Batch, *videos_F3HW: Tensor) -> None:
    """Write reference | driver | the given videos (in [0, 1]) of a batch of one clip.

    Raises:
        UserError: it cannot be written.
    """
    frames = batch.driver_BF1HW.shape[1]
    reference_F3HW = batch.reference_B3HW[:1].expand(frames, -1, -1, -1)
    driver_F3HW = batch.driver_BF1HW[0].expand(-1, 3, -1, -1)
    shown = [(video * 255).round().byte().cpu() for video in videos_F3HW]
    wide_FHW3 = torch.cat([reference_F3HW, driver_F3HW, *shown], dim=3).movedim(1, -1).contiguous().numpy()
    step = int(batch.indices_BF[0].diff().float().mean()) if frames > 1 else 1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        encode(
            wide_FHW3, float(batch.fps_B[0]) / step, path, comment="synthetic: made by a model in training"
        )
    except OSError as error:
        raise UserError(f"cannot write {path}: {error}") from error
