"""The small pieces: configs, rates, averages, the cosine codec, batches ahead."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from datagen.common.errors import UserError
from trainer.latents.cosine_codec import CosineCodec
from trainer.train.config import Optimiser
from trainer.train.job import bundled, load_config, sources_of
from trainer.train.prefetch import Prefetcher
from trainer.train.state.ema import Ema
from trainer.train.state.optimizer import build_adamw, learning_rate, optimiser_tensors, restore_optimiser


def test_bundled_configs_are_valid_and_their_stages_named() -> None:
    stages = {name: load_config(name).stage for name in bundled()}
    assert stages["stage1"] == "image" and stages["stage2"] == "video"
    assert stages["joint"] == stages["eyes"] == "joint"
    assert {"tiny-image", "tiny-video", "tiny-joint"} <= stages.keys()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("bach=3", "did you mean 'batch'"),
        ("optimiser.learning_rate=fast", "optimiser.learning_rate = 'fast'"),
        ("model.diffusion.predicton=epsilon", "unknown fields \\['predicton'\\]"),
        ("data.frames=99", "above the model's max_frames = 32"),
        ("data.frames=1", "give at least 2"),
    ],
)
def test_mistakes_in_a_config_name_the_field(assignment: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_config("stage2", [assignment])
    assert error.value.code == 2


def test_sources_take_weights_and_selections() -> None:
    config = load_config("eyes", ["weights=[1, 3]"])
    one, other = sources_of(config, ["a", "b"], "face_area > 0.3")
    assert (one.weight, other.weight) == (1, 3)
    assert one.where == "(gaze_movement > 0.05) and (face_area > 0.3)"
    with pytest.raises(UserError, match="2 data sets, got 1"):
        sources_of(config, ["a"])


def test_learning_rate_warms_up_and_falls() -> None:
    config = Optimiser(learning_rate=1.0, warmup_steps=9, schedule="cosine", final_rate=0.1)
    rates = [learning_rate(config, step, 109) for step in range(110)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0)
    assert rates[59] == pytest.approx(0.55) and rates[109] == pytest.approx(0.1)
    constant = Optimiser(learning_rate=1.0, warmup_steps=0)
    assert learning_rate(constant, 0, 10) == learning_rate(constant, 10, 10) == 1


def test_averages_follow_the_weights_and_are_applied_without_copies() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    ema = Ema(0.5, {"p": parameter})
    parameter.data += 10
    ema.update(step=0)  # decay 1 / 10 at the start
    assert torch.allclose(ema.averages["p"], torch.full((2,), 9.0))
    own = parameter.data_ptr()
    with ema.applied():
        assert parameter[0] == 9
    assert parameter.data_ptr() == own and parameter[0] == 10


def test_an_optimiser_comes_back_and_refuses_others_state() -> None:
    def stepped() -> tuple[dict[str, nn.Parameter], torch.optim.AdamW]:
        torch.manual_seed(0)
        parameters = {"a": nn.Parameter(torch.randn(3, 2)), "b": nn.Parameter(torch.randn(3))}
        return parameters, build_adamw(Optimiser(learning_rate=0.1), parameters)

    parameters, optimiser = stepped()
    assert optimiser_tensors(optimiser, parameters) == {}
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    saved = optimiser_tensors(optimiser, parameters)
    fresh, other = stepped()
    restore_optimiser(other, fresh, saved)
    again = optimiser_tensors(other, fresh)
    assert saved.keys() == again.keys() and all(torch.equal(saved[name], again[name]) for name in saved)
    with pytest.raises(ValueError, match="of other parameters"):
        restore_optimiser(other, {"a": fresh["a"]}, saved)


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


def test_items_come_in_order_and_errors_come_through() -> None:
    def items():
        yield from range(5)
        raise UserError("broken")

    ahead = Prefetcher(items())
    assert [next(ahead) for _ in range(5)] == list(range(5))
    with pytest.raises(UserError, match="broken"):
        next(ahead)


def test_an_endless_iterator_can_be_left() -> None:
    ahead = Prefetcher(iter(int, 1))
    assert next(ahead) == 0
    ahead.close()
