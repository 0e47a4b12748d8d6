"""The denoising UNet."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from tests.trainer.model.models import SMALL, build
from trainer.model.state_dict import is_driven, is_motion


@torch.no_grad()
@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
def test_without_motion_and_reference_it_is_the_unet_of_stable_diffusion(size: tuple[int, int]) -> None:
    model = build().unet
    names = ("CrossAttnDownBlock2D", "DownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")
    diffusion = UNet2DConditionModel(
        in_channels=SMALL.in_channels,
        down_block_types=names[0],
        up_block_types=names[1],
        block_out_channels=SMALL.block_out_channels,
        cross_attention_dim=SMALL.cross_attention_dim,
        attention_head_dim=SMALL.attention_heads,
    )
    spatial = {n: t for n, t in model.state_dict().items() if not is_motion(n) and not is_driven(n)}
    diffusion.load_state_dict(spatial)
    images, tokens, timestep = (
        torch.randn(3, SMALL.in_channels, *size),
        torch.randn(1, 5, 16),
        torch.tensor([437]),
    )
    ours = model(images[None], timestep, tokens, motion=False)[0]
    theirs = diffusion(images, timestep, tokens.expand(3, -1, -1)).sample
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
