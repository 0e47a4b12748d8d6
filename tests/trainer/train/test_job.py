"""Bundled configs and their changes by a user."""

from __future__ import annotations

import pytest

from datagen.common.errors import UserError
from trainer.train.job import bundled, load_config, sources_of


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
