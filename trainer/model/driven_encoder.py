"""DrivenEncoder: features of the driving frames, scaled and shifted by the reference image.

The paper calls that modulation "appearance style transfer". Shape suffixes as in `layers`.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

_DRIVING = ((3, 3, 16, 4, 2), (16, 16, 32, 4, 2), (32, 32, 64, 4, 2), (64, 64, 128, 3, 1))
"""Stages of two convolutions: channels in and out of the first; channels out, kernel and stride of the second."""
_FEATURES = 128
_REFERENCE_WIDTHS = (4, 8, 16, 32, 64, 128, 256, 512)


class DrivenEncoder(nn.Module):
    """Turns driving frames into `channels` feature maps at an eighth of their size.

    A branch computes from the reference image a scale and a shift for each of 128 inner feature maps; both are zero at
    initialisation. `reference_size` fixes the side of that image, as the published weights need. With None the branch
    pools adaptively and takes any side from 128; at 512 both give the same.
    """

    def __init__(self, channels: int, reference_size: int | None):
        super().__init__()
        self.reference_size = reference_size
        self.spatial_conv_layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(first_in, first_out, 3, padding=1),
                nn.SiLU(),
                nn.Conv2d(first_out, second_out, kernel, stride=stride, padding=1),
                nn.SiLU(),
            )
            for first_in, first_out, second_out, kernel, stride in _DRIVING
        )
        self.spatial_conv_out = nn.Conv2d(_FEATURES, channels, 1)

        tower: list[nn.Module] = [nn.Conv2d(3, _REFERENCE_WIDTHS[0], 3, padding=1), nn.SiLU()]
        for narrow, wide in pairwise(_REFERENCE_WIDTHS):
            tower += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), nn.SiLU()]
            tower += [nn.Conv2d(wide, wide, 3, padding=1), nn.SiLU()]
        tower += [nn.Conv2d(_REFERENCE_WIDTHS[-1], _REFERENCE_WIDTHS[-1], 4), nn.SiLU()]
        self.refer_convs = nn.Sequential(*tower)
        self.refer_linears = nn.Sequential(nn.Linear(_REFERENCE_WIDTHS[-1], 2 * _FEATURES), nn.SiLU())
        self.refer_linears_out = nn.Sequential(nn.Linear(2 * _FEATURES, 2 * _FEATURES))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan = module.kernel_size[0] * module.kernel_size[1] * module.in_channels
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan))
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        for parameter in self.refer_linears_out.parameters():
            nn.init.zeros_(parameter)

    def modulation(self, reference_B3HW: Tensor) -> Tensor:
        """Scale and shift (B, 2 * 128) from reference images in [0, 1]."""
        side = self.reference_size
        if side is not None and reference_B3HW.shape[2:] != (side, side):
            raise ValueError(
                f"the reference image is {tuple(reference_B3HW.shape[2:])} but the model takes only "
                f"{(side, side)}; resize it or set reference_size to None"
            )
        tower, last = self.refer_convs[:-2], self.refer_convs[-2:]
        maps = tower(reference_B3HW * 2 - 1)
        if side is None:
            maps = F.adaptive_avg_pool2d(maps, 4)
        return self.refer_linears_out(self.refer_linears(last(maps).flatten(1)))

    def forward(self, driving_BFCHW: Tensor, reference_B3HW: Tensor) -> Tensor:
        """Driven features (B F channels H/8 W/8) of driving frames and reference images in [0, 1]."""
        x = driving_BFCHW.flatten(0, 1) * 2 - 1
        for stage in self.spatial_conv_layers:
            x = stage(x)
        scale, shift = self.modulation(reference_B3HW).chunk(2, dim=1)
        x_BFCHW = x.unflatten(0, driving_BFCHW.shape[:2])
        x_BFCHW = x_BFCHW * (1 + scale[:, None, :, None, None]) + shift[:, None, :, None, None]
        return self.spatial_conv_out(x_BFCHW.flatten(0, 1)).unflatten(0, driving_BFCHW.shape[:2])
