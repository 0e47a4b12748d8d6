"""Configs of the model."""

import pytest

from trainer.model.config import (
    PUBLISHED,
    TINY,
    DiffusionConfig,
    MegActorConfig,
    ModelConfig,
    WindowConfig,
    tiny,
)


def test_a_schedule_that_cannot_be_sampled_is_refused() -> None:
    with pytest.raises(ValueError, match="v_prediction"):
        DiffusionConfig(prediction="epsilon")
    with pytest.raises(ValueError, match="overlap is 16"):
        WindowConfig(16, 16)


def test_configs_round_trip_and_say_what_is_wrong() -> None:
    assert MegActorConfig.from_dict(PUBLISHED.to_dict()) == PUBLISHED
    assert tiny(PUBLISHED).model.norm_statistics == "clip"
    assert tiny(MegActorConfig()) == TINY
    with pytest.raises(ValueError, match=r"config\.model has unknown fields \['widths'\]"):
        MegActorConfig.from_dict({"model": {"widths": 3}})
    with pytest.raises(ValueError, match="choose one of"):
        MegActorConfig.from_dict({"model": {"norm_statistics": "batch"}})
    with pytest.raises(ValueError, match="multiple of attention_heads"):
        ModelConfig(block_out_channels=(36, 72), norm_num_groups=4)
