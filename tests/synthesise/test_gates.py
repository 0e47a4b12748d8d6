"""A refusal that a number decided carries what was measured, the number and the limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from datagen.common.errors import Refusal
from datagen.donors.suitability import DEFAULT_LIMITS, PortraitMeasures, refuse_unfit
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
GOOD = PortraitMeasures(
    side=300, yaw=0, pitch=0, sharpness=100, mouth_opening=0, mouth_width=0.9, eye_opening=0.3, lens_colour=2,
    lens_darkness=-3, brow_height=0.6, iris=0.17, face_length=2.1, chroma=25, hue=45,
)  # fmt: skip


@pytest.mark.parametrize("measure", FINE)
def test_gates_of_streams(measure: str) -> None:
    gates, value = Gates(), 0.01 if measure == "identity_to_source" else 99.0
    columns: dict[str, float | None] = {**FINE, measure: value}
    with pytest.raises(Refusal) as caught:
        gate_swap(columns, gates)
        gate_style(columns, gates)
    found = caught.value
    assert (found.measure, found.value, found.limit) == (measure, value, getattr(gates, GATES[measure]))


@pytest.mark.parametrize(
    ("measure", "value", "limit"),
    [
        ("side", 50.0, 120.0), ("yaw", -40.0, 20.0), ("pitch", 30.0, 16.0), ("sharpness", 1.0, 30.0),
        ("chroma", 2.0, 10.0), ("chroma", 80.0, 45.0), ("hue", 5.0, 10.0), ("hue", 120.0, 75.0),
        ("eye_opening", 0.05, 0.18), ("iris", 0.01, 0.14), ("iris", 0.3, 0.094 * 2.1), ("mouth_opening", 0.5, 0.2),
        ("mouth_width", 2.0, 1.1), ("brow_height", 0.1, 0.4), ("lens_colour", 40.0, 15.0),
        ("lens_darkness", 60.0, 25.0),
    ],
)  # fmt: skip
def test_limits_of_portraits(measure: str, value: float, limit: float) -> None:
    refuse_unfit(GOOD, DEFAULT_LIMITS)
    with pytest.raises(Refusal) as caught:
        refuse_unfit(replace(GOOD, **{measure: value}), DEFAULT_LIMITS)
    assert (caught.value.measure, caught.value.value) == (measure, abs(value))
    assert caught.value.limit == pytest.approx(limit)
