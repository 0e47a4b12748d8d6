"""Windows that cover a long video, and the weights that blend their predictions."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.model.config import WindowConfig


def cover(frames: int, config: WindowConfig) -> list[list[int]]:
    """Frame indices of each window.

    With closed windows the last one continues at the start of the video; with open ones it ends with the video. A video
    that is not longer than a window is one window.
    """
    size, stride = config.frames, config.frames - config.overlap
    if frames <= size:
        return [list(range(frames))]
    if config.closed:
        return [
            [index % frames for index in range(start, start + size)] for start in range(0, frames, stride)
        ]
    starts = [*range(0, frames - size, stride), frames - size]
    return [list(range(start, start + size)) for start in starts]


def blend_weights(windows: list[list[int]], frames: int, config: WindowConfig, guided: bool) -> Tensor:
    """Weight (windows, frames) of each window's prediction for each frame.

    The weights of a frame sum to 1: equal for closed windows, a cross-fade for open ones. Exception: with
    `sum_unguided` and without guidance, closed windows have weight 1 each.
    """
    weights = torch.zeros(len(windows), frames)
    for row, window in zip(weights, windows, strict=True):
        positions = torch.arange(len(window))
        fade = torch.minimum(positions + 1, len(window) - positions).float()
        row[window] = torch.ones_like(fade) if config.closed else fade
    if config.closed and config.sum_unguided and not guided:
        return weights
    return weights / weights.sum(0)
