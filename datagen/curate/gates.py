"""Quality measures of a candidate clip, and the gates on them."""

from __future__ import annotations

import numpy as np

from datagen.common.errors import Refusal
from datagen.curate.candidates import CandidateClip
from datagen.imaging.crop import ClipCrop, square_side
from datagen.recipe import Gates


def measure(candidate: CandidateClip, crop: ClipCrop) -> dict[str, float]:
    """Quality columns of the clip table that follow from the face track; `luma` is measured on the pixels later."""
    area = (square_side(candidate.boxes) / crop.size) ** 2
    yaw = candidate.column("yaw")
    gaze = candidate.column("gaze_x", "gaze_y")
    return {
        "face_area": float(np.median(area)),
        "face_area_min": float(area.min()),
        "sharpness": float(np.median(candidate.column("sharpness"))),
        "yaw_range": float(yaw.max() - yaw.min()),
        "yaw_median": float(np.median(np.abs(yaw))),
        "gaze_movement": float(np.hypot(*gaze.std(axis=0))),
    }


def check(quality: dict[str, float], gates: Gates) -> None:
    """Refuse a clip that fails a gate.

    Args:
        quality: measures by name; gates on measures that are missing are not checked.
        gates: the recipe's gates.

    Raises:
        Refusal: a gate fails; it holds the measure, its value and the limit.
    """
    lower = (
        ("luma", gates.min_luma, "too_dark", "gates.min_luma"),
        ("face_area", gates.min_face_area, "face_area", "gates.min_face_area"),
        ("sharpness", gates.min_sharpness, "blurred", "gates.min_sharpness"),
        ("movement", gates.min_movement, "still", "gates.min_movement"),
        ("gaze_movement", gates.min_gaze_movement, "gaze", "gates.min_gaze_movement"),
    )
    for name, limit, reason, key in lower:
        value = quality.get(name)
        if limit is not None and value is not None and value < limit:
            raise Refusal(
                reason,
                f"{name} {value:.3g} is below {limit:g}",
                f"lower {key} to keep such clips",
                measure=name,
                value=value,
                limit=limit,
            )
    yaw = quality.get("yaw_median")
    if gates.max_yaw is not None and yaw is not None and yaw > gates.max_yaw:
        raise Refusal(
            "yaw",
            f"median yaw {yaw:.0f} degrees is beyond {gates.max_yaw:g}",
            "raise gates.max_yaw to keep profiles",
            measure="yaw_median",
            value=yaw,
            limit=gates.max_yaw,
        )
