"""Weights drawn from names."""

import pytest

from trainer.parity.weights import draw_weight


def test_a_weight_is_drawn_from_its_name() -> None:
    assert draw_weight("unet.conv_norm_out.weight", (64,))[:2] == pytest.approx(
        [0.9569719, 1.0357500], rel=1e-6
    )
    assert draw_weight("unet.conv_in.bias", (64,))[0] == pytest.approx(0.00701619, rel=1e-5)
