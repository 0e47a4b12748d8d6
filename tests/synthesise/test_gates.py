"""A refusal by a limit states measure, value and limit."""

from __future__ import annotations

import pytest

from datagen.common.errors import Refusal
from datagen.recipe import Gates
from datagen.synthesise.gates import gate_style, gate_swap

FINE = {
    "swapped_pose_rms": 1.0, "swapped_mouth_rms": 0.01, "swapped_eyes_rms": 0.01, "swapped_flicker": 1.0,
    "identity_to_source": 0.9, "styled_landmark_error": 0.01, "styled_pose_rms": 1.0, "styled_flicker": 1.0,
}  # fmt: skip
GATES = {
    "swapped_pose_rms": "swap_pose_rms", "swapped_mouth_rms": "swap_mouth_rms", "swapped_eyes_rms": "swap_eyes_rms",
    "swapped_flicker": "swap_flicker", "identity_to_source": "swap_min_distance",
    "styled_landmark_error": "style_landmarks", "styled_pose_rms": "style_pose_rms", "styled_flicker": "style_flicker",
}  # fmt: skip


@pytest.mark.parametrize("measure", FINE)
def test_a_gate_of_a_stream_reports_its_number_and_limit(measure: str) -> None:
    gates, value = Gates(), 0.01 if measure == "identity_to_source" else 99.0
    columns: dict[str, float | None] = {**FINE, measure: value}
    with pytest.raises(Refusal) as caught:
        gate_swap(columns, gates)
        gate_style(columns, gates)
    found = caught.value
    assert (found.measure, found.value, found.limit) == (measure, value, getattr(gates, GATES[measure]))
