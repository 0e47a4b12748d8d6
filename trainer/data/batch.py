"""Samples stacked into the tensors of a training step. Pixels stay uint8 until they are on the device.

Shapes: B samples, F frames, H height, W width, S side of CLIP's image, C h w moments, T tokens, D token width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from trainer.data.sample import Sample, Skipped


@dataclass(frozen=True)
class Batch:
    """Tensors of B samples; see `Sample` for the meanings. Pictures have their channels before height and width.

    A batch holds either target and CLIP image, or moments and tokens; `trainer.latents.encoders.complete` computes
    the latter from the former. `skipped` lists the clips that could not be used, `replaced` counts the samples for
    which another clip was taken.
    """

    slots_B: Tensor
    kinds_B: Tensor
    indices_BF: Tensor
    reference_indices_B: Tensor
    fps_B: Tensor
    scales_B: Tensor
    aspects_B: Tensor
    driver_BF1HW: Tensor
    reference_B3HW: Tensor
    background_B1HW: Tensor
    target_BF3HW: Tensor | None
    clip_image_B3SS: Tensor | None
    target_moments_BFChw: Tensor | None
    reference_moments_BChw: Tensor | None
    tokens_BTD: Tensor | None
    clip_ids: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    replaced: int

    def __len__(self) -> int:
        return len(self.slots_B)

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with `function` applied to each tensor."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        changed: dict[str, Any] = {name: function(tensor) for name, tensor in tensors.items()}
        return replace(self, **changed)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device; copies from pinned memory do not block."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; the loader's pinning thread calls this."""
        return self.map(Tensor.pin_memory)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples; in a loader worker directly into shared memory."""

    def stack(name: str) -> Tensor | None:
        if getattr(samples[0], name) is None:
            return None
        return default_collate([torch.from_numpy(_writable(getattr(sample, name))) for sample in samples])

    def pictures(name: str) -> Tensor | None:
        stacked = stack(name)
        # Channels move to the front as a view: in memory they stay last, the faster layout for convolutions.
        return None if stacked is None else stacked.movedim(-1, -3)

    def numbers(name: str, dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.tensor([getattr(sample, name) for sample in samples], dtype=dtype)

    driver, reference, background, indices = map(stack, ("driver", "reference", "background", "indices"))
    assert driver is not None and reference is not None and background is not None and indices is not None
    return Batch(
        slots_B=numbers("slot"),
        kinds_B=numbers("kind"),
        indices_BF=indices,
        reference_indices_B=numbers("reference_index"),
        fps_B=numbers("fps", torch.float32),
        scales_B=numbers("scale", torch.float32),
        aspects_B=numbers("aspect", torch.float32),
        driver_BF1HW=driver.unsqueeze(2),
        reference_B3HW=reference.movedim(-1, -3),
        background_B1HW=background.unsqueeze(1),
        target_BF3HW=pictures("target"),
        clip_image_B3SS=pictures("clip_image"),
        target_moments_BFChw=stack("target_moments"),
        reference_moments_BChw=stack("reference_moments"),
        tokens_BTD=stack("tokens"),
        clip_ids=tuple(sample.clip_id for sample in samples),
        skipped=tuple(skipped for sample in samples for skipped in sample.skipped),
        replaced=sum(bool(sample.skipped) for sample in samples),
    )


def _writable(array: np.ndarray) -> np.ndarray:
    """The array, copied where it is a read-only view of a file's bytes, about which torch would warn."""
    return array if array.flags.writeable else array.copy()
