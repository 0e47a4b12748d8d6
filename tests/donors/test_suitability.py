"""A refusal by a limit states measure, value and limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from datagen.common.errors import Refusal
from datagen.donors.suitability import DEFAULT_LIMITS, PortraitMeasures, refuse_unfit

GOOD = PortraitMeasures(
    side=300, yaw=0, pitch=0, sharpness=100, mouth_opening=0, mouth_width=0.9, eye_opening=0.3, lens_colour=2,
    lens_darkness=-3, brow_height=0.6, iris=0.17, face_length=2.1, chroma=25, hue=45,
)  # fmt: skip


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
def test_a_limit_of_portraits_reports_its_number(measure: str, value: float, limit: float) -> None:
    refuse_unfit(GOOD, DEFAULT_LIMITS)
    with pytest.raises(Refusal) as caught:
        refuse_unfit(replace(GOOD, **{measure: value}), DEFAULT_LIMITS)
    assert (caught.value.measure, caught.value.value) == (measure, abs(value))
    assert caught.value.limit == pytest.approx(limit)
