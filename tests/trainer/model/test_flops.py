import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainer.model.config import PUBLISHED, ModelConfig
from trainer.model.flops import count
from trainer.model.megactor import Conditions, MegActor

TERA = 1e12


def measured(config: ModelConfig, frames: int, height: int, width: int, tokens: int) -> float:
    latent = (1, config.latent_channels, height, width)
    with torch.device("meta"):
        model = MegActor(config)
        conditions = Conditions(
            torch.empty(1, frames, 3, 8 * height, 8 * width),
            torch.empty(1, 3, 512, 512),
            torch.empty(latent),
            torch.empty(latent),
            torch.empty(1, 1, height, width),
            torch.empty(1, tokens, config.cross_attention_dim),
        )
        noisy = torch.empty(1, frames, *latent[1:])
        with FlopCounterMode(display=False) as counter:
            model(noisy, torch.zeros(1, dtype=torch.long), conditions)
        return float(counter.get_total_flops())


@pytest.mark.parametrize(
    ("config", "frames", "height", "width", "tokens"),
    [
        (ModelConfig(block_out_channels=(32, 64, 64), cross_attention_dim=48), 3, 9, 15, 5),
        (PUBLISHED.model, 2, 64, 64, 257),
        (ModelConfig(latent_channels=8, block_out_channels=(32, 64, 96), layers_per_block=1), 1, 8, 8, 3),
    ],
)
def test_the_count_is_what_torch_counts(
    config: ModelConfig, frames: int, height: int, width: int, tokens: int
) -> None:
    counted = count(config, frames, height, width, tokens).forward
    assert counted == pytest.approx(measured(config, frames, height, width, tokens), rel=1e-9)


def test_the_cost_table_of_the_method() -> None:
    image = count(PUBLISHED.model, 1, 64, 64, 257)
    assert image.unet_spatial.forward / TERA == pytest.approx(0.818, rel=0.01)
    assert image.motion_modules.forward / TERA == pytest.approx(0.301, rel=0.01)
    assert image.reference_read.forward / TERA == pytest.approx(0.089, rel=0.01)
    assert image.reference_net.forward / TERA == pytest.approx(0.80, rel=0.03)
    assert image.training_step("image") / TERA == pytest.approx(5.1, rel=0.02)
    clip = count(PUBLISHED.model, 16, 64, 64, 257)
    assert clip.training_step("joint") / TERA == pytest.approx(60.5, rel=0.03)
    # The table's 44.3 takes the gradient of attention as cheap as its forward pass; it costs twice that.
    assert 44.3 < clip.training_step("video") / TERA < 48
