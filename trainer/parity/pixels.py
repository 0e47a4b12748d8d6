"""The published pixel operations on driving videos, as they were: the cases of kind `h`.

New training uses the pipeline's own operations; these reproduce the published preprocessing, rounding included.
Videos are float tensors F C H W in 0..255, rectangles float32 arrays (left, top, right, bottom); their arithmetic
stays in float32, since truncation to whole pixels follows.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

GREY = (0.2989, 0.5870, 0.1140)
TOP, BOTTOM = 0.4, 0.1
TALL = 1 + TOP + BOTTOM


def squeeze_aspect(video_FCHW: Tensor, ratio: float) -> Tensor:
    """Narrow the picture for a ratio below 1, lower it for one above: bilinear with antialiasing."""
    height, width = video_FCHW.shape[2:]
    size = (height, int(ratio * width)) if ratio <= 1 else (int(height / ratio), width)
    return F.interpolate(video_FCHW, size=size, mode="bilinear", antialias=True, align_corners=False)


def scale_about_centre(video_FCHW: Tensor, scale: float) -> Tensor:
    """Scale by nearest neighbour, black outside. The order of operations is torchvision's, which decides ties."""
    frames, _, height, width = video_FCHW.shape
    inverse = torch.tensor(1 / scale)
    x_W = torch.linspace(-width / 2 + 0.5, width / 2 - 0.5, width) * (inverse / torch.tensor(width / 2))
    y_H = torch.linspace(-height / 2 + 0.5, height / 2 - 0.5, height) * (inverse / torch.tensor(height / 2))
    grid = torch.stack(torch.broadcast_tensors(x_W[None, :], y_H[:, None]), dim=-1)
    grid = grid.expand(frames, -1, -1, -1)
    return F.grid_sample(video_FCHW, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def warp(video_FCHW: Tensor, ratio: float, scale: float) -> Tensor:
    """Change the aspect ratio, pad to the old size with black, then scale about the centre."""
    squeezed = squeeze_aspect(video_FCHW, ratio)
    pad_y = video_FCHW.shape[2] - squeezed.shape[2]
    pad_x = video_FCHW.shape[3] - squeezed.shape[3]
    padded = F.pad(squeezed, (pad_x // 2, pad_x - pad_x // 2, pad_y // 2, pad_y - pad_y // 2))
    return scale_about_centre(padded, scale)


def grey(video_F3HW: Tensor) -> Tensor:
    """Luma on all three channels."""
    luma = (video_F3HW * torch.tensor(GREY)[:, None, None]).sum(1, keepdim=True)
    return luma.clamp(0, 255).expand_as(video_F3HW)


def resize(video_FCHW: Tensor, size: Sequence[int]) -> Tensor:
    """Plain bilinear, without antialiasing."""
    return F.interpolate(video_FCHW, size=tuple(size), mode="bilinear", align_corners=False)


def rectangles_by_frame(
    frames: int, image_ids: Sequence[int], rectangles: np.ndarray
) -> list[np.ndarray] | None:
    """One rectangle a frame: the first detected, or the frame before's. None if the first frame has none."""
    first: dict[int, np.ndarray] = {}
    for frame, rectangle in zip(image_ids, rectangles, strict=True):
        first.setdefault(frame, rectangle)
    if 0 not in first:
        return None
    found = [first[0]]
    for frame in range(1, frames):
        found.append(first.get(frame, found[-1]))
    return found


@dataclass(frozen=True)
class SquareCrop:
    """A square of the frame's short side, and the smallest face in it as half its share of the square's area."""

    top: int
    bottom: int
    left: int
    right: int
    min_face_size: float = 0.0

    @property
    def box(self) -> list[int]:
        """Top, bottom, left, right."""
        return [self.top, self.bottom, self.left, self.right]

    def apply(self, video_FCHW: Tensor, size: Sequence[int]) -> Tensor:
        """Cut out and resize."""
        return resize(video_FCHW[:, :, self.top : self.bottom, self.left : self.right], size)


def crop_faces(height: int, width: int, rectangles: Sequence[np.ndarray] = ()) -> SquareCrop:
    """The square around all of a clip's faces, kept inside the frame; around its centre when there are none."""
    side = min(height, width)
    x, y, smallest = width / 2, height / 2, 0.0
    if rectangles:
        lefts, tops, rights, bottoms = np.stack(rectangles).T
        x, y = (lefts.min() + rights.max()) / 2, (tops.min() + bottoms.max()) / 2
        smallest = float(((rights - lefts) * (bottoms - tops) / (2 * side * side)).min())
    left_edge = min(max(int(x - side / 2), 0), width - side)
    top_edge = min(max(int(y - side / 2), 0), height - side)
    return SquareCrop(top_edge, top_edge + side, left_edge, left_edge + side, smallest)


def enlarge(rectangle: np.ndarray) -> tuple[int, int, int, int]:
    """The face box 1.5 times as high as wide.

    A box that is higher is widened. Others are squared at their width, then grow by 40 % on top and 10 % at the bottom.
    """
    left, top, right, bottom = rectangle
    width, height = right - left, bottom - top
    if height > TALL * width:
        pad = int((height / TALL - width) / 2)
        return int(left - pad), int(top), int(right + pad), int(bottom)
    pad = int((width - height) / 2)
    return int(left), int(top - pad - int(TOP * width)), int(right), int(bottom + pad + int(BOTTOM * width))


def keep_faces(video_FCHW: Tensor, rectangles: Sequence[np.ndarray], size: Sequence[int]) -> Tensor:
    """Black outside each frame's enlarged face box, resized."""
    height, width = video_FCHW.shape[2:]
    kept = torch.zeros_like(video_FCHW)
    for frame, rectangle in enumerate(rectangles):
        left, top, right, bottom = enlarge(rectangle)
        rows = slice(max(top, 0), max(min(bottom, height), 0))
        columns = slice(max(left, 0), max(min(right, width), 0))
        kept[frame, :, rows, columns] = video_FCHW[frame, :, rows, columns]
    return resize(kept, size)


def random_warp(seed: int, width: int, height: int) -> Mapping[str, Any]:
    """The published draw of a clip's augmentation; of it only `aspect_ratio` and the affine's `scale` are used."""
    rng = random.Random(seed)
    reach_x, reach_y = int(0.2 * width), int(0.2 * height)
    corners = [[0, 0], [width, 0], [width, height], [0, height]]
    moved = [[x + rng.randint(-reach_x, reach_x), y + rng.randint(-reach_y, reach_y)] for x, y in corners]
    rotate = rng.uniform(-5, 5)
    degrees, shift_x, shift_y = (rng.uniform(0, 0) for _ in range(3))
    scale, shear = rng.uniform(0.8, 1.2), rng.uniform(0, 0)
    distortion = rng.uniform(0.1, 0.5)
    flips = [rng.random() < 0.5 for _ in range(2)]
    return {
        "rotate": rotate,
        "affine": {"degrees": degrees, "translate": [shift_x, shift_y], "scale": scale, "shear": shear},
        "perspective": {"distortion_scale": distortion, "startpoints": corners, "endpoints": moved},
        "flip": {"horizontal": flips[0], "vertical": flips[1]},
        "aspect_ratio": rng.uniform(0.8, 1.2),
    }
