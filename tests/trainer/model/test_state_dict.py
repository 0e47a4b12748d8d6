import json
from pathlib import Path

import pytest
import torch

from tests.trainer.model.models import SMALL
from trainer.model import state_dict as layout
from trainer.model.config import PUBLISHED
from trainer.model.megactor import MegActor


def test_the_full_size_model_has_the_published_names_and_shapes(parity_folder: Path) -> None:
    published = json.loads((parity_folder / "megactor_checkpoint_layout.json").read_text())
    for component in layout.COMPONENTS:
        ours = layout.component_layout(PUBLISHED.model, component)
        assert {name: list(shape) for name, shape in ours.items()} == published[component]
    unet = layout.component_layout(PUBLISHED.model, "unet")
    groups = published["groups"]
    assert sorted(name for name in unet if layout.is_motion(name)) == sorted(groups["motion_modules"])
    assert sorted(name for name in unet if layout.is_driven(name)) == sorted(groups["condition_input_layer"])
    assert sorted(name for name in unet if name.endswith(".pos_encoder.pe")) == sorted(
        published["unet_non_trainable_buffers"]
    )


def test_parameter_counts_of_the_full_size() -> None:
    with torch.device("meta"):
        groups = MegActor(PUBLISHED.model).parameter_groups()
    counts = {group: sum(p.numel() for p in named.values()) for group, named in groups.items()}
    assert counts == {
        "unet_spatial": 859_546_884,
        "motion_modules": 417_137_600,
        "driven_encoder": 10_500_440,
        "reference_net": 857_066_560,
    }


def test_a_state_that_does_not_fit_is_refused_with_the_tensor_names() -> None:
    expected = layout.model_layout(SMALL)
    state = {name: torch.empty(shape, device="meta") for name, shape in expected.items()}
    layout.check_layout(state, expected, "x.safetensors")
    del state["unet.conv_out.bias"]
    state["unet.extra"] = torch.empty(1)
    state["unet.conv_in.bias"] = torch.empty(7)
    with pytest.raises(layout.LayoutError) as error:
        layout.check_layout(state, expected, "x.safetensors")
    for word in ("x.safetensors", "unet.conv_out.bias", "unet.extra", "unet.conv_in.bias: (7,) for (32,)"):
        assert word in str(error.value)
