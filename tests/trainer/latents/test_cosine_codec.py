"""The cosine codec."""

from __future__ import annotations

import pytest
import torch

from trainer.latents.cosine_codec import CosineCodec


def test_the_whole_cosine_codec_is_invertible() -> None:
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    codec = CosineCodec.build(192)
    mean, log_variance = codec.moments(images * 2 - 1).chunk(2, dim=1)
    assert mean.shape == (2, 192, 2, 3) and bool((log_variance == -30).all())
    assert torch.allclose(codec.decode(mean), images, atol=1e-5)


def test_a_few_coefficients_keep_what_is_smooth() -> None:
    ramp = torch.linspace(0.2, 0.8, 32).expand(1, 3, 32, 32)
    codec = CosineCodec.build(12)
    mean, _ = codec.moments(ramp * 2 - 1).chunk(2, dim=1)
    assert (codec.decode(mean) - ramp).abs().max() < 0.02
    with pytest.raises(ValueError, match="takes 3 to 192"):
        CosineCodec.build(2)
