"""Quality columns of a clip and the gates on them."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from datagen.common.errors import Refusal
from datagen.donors.donor import Donor
from datagen.faces import FaceAnalyser, Faces
from datagen.quality.flicker import flicker
from datagen.quality.identity import identity
from datagen.quality.motion import motion
from datagen.recipe import Gates

Columns = dict[str, float | None]
LOST = 0.1  # largest share of frames of a result without a face


def motion_columns(
    stream: str, source_FHWC: np.ndarray, faces: Faces, other_FHWC: np.ndarray, other: Faces
) -> Columns:
    """Motion and flicker of a stream compared with its source.

    Raises:
        Refusal: the face is lost in too many frames of the result.
    """
    measured = asdict(motion(faces, other))
    lost = measured.pop("lost")
    if lost > LOST:
        raise Refusal(
            "no_face",
            f"the {stream} face is lost in {lost:.0%} of the frames, more than {LOST:.0%}",
            measure=f"{stream}_lost",
            value=lost,
            limit=LOST,
        )
    columns = {f"{stream}_{name}": value for name, value in measured.items()}
    return columns | {f"{stream}_flicker": flicker(source_FHWC, other_FHWC, faces)}


def identity_columns(
    source_FHWC: np.ndarray,
    faces: Faces,
    swapped_FHWC: np.ndarray,
    swapped: Faces,
    donor: Donor,
    analyser: FaceAnalyser,
    frames: int,
) -> Columns:
    """Identity distances of a swapped clip, each the mean over `frames` sampled frames."""
    found = identity(source_FHWC, faces, swapped_FHWC, swapped, donor.embedding, analyser, frames)
    return {"identity_to_source": found.to_source, "identity_to_donor": found.to_donor}


def gate_swap(columns: Columns, gates: Gates) -> None:
    """Refuse a swap that misses a gate.

    Raises:
        Refusal: with the measure, its value and the gate.
    """
    _at_most(columns, "swapped_pose_rms", gates.swap_pose_rms, "gate_motion", "gates.swap_pose_rms")
    _at_most(columns, "swapped_mouth_rms", gates.swap_mouth_rms, "gate_motion", "gates.swap_mouth_rms")
    _at_most(columns, "swapped_eyes_rms", gates.swap_eyes_rms, "gate_motion", "gates.swap_eyes_rms")
    _at_most(columns, "swapped_flicker", gates.swap_flicker, "gate_flicker", "gates.swap_flicker")
    limit, value = gates.swap_min_distance, columns["identity_to_source"]
    if limit is not None and value is not None and value < limit:
        raise Refusal(
            "gate_identity",
            f"identity distance to the source {value:.3f} is below {limit:g}",
            "lower gates.swap_min_distance to keep such swaps",
            measure="identity_to_source",
            value=value,
            limit=limit,
        )


def gate_style(columns: Columns, gates: Gates) -> None:
    """Refuse a style that misses a gate; see `gate_swap`."""
    _at_most(
        columns, "styled_landmark_error", gates.style_landmarks, "gate_expression", "gates.style_landmarks"
    )
    _at_most(columns, "styled_pose_rms", gates.style_pose_rms, "gate_motion", "gates.style_pose_rms")
    _at_most(columns, "styled_flicker", gates.style_flicker, "gate_flicker", "gates.style_flicker")


def _at_most(columns: Columns, name: str, limit: float | None, reason: str, key: str) -> None:
    value = columns[name]
    if limit is not None and value is not None and value > limit:
        raise Refusal(
            reason,
            f"{name} {value:.3g} is above {limit:g}",
            f"raise {key} to keep such clips",
            measure=name,
            value=value,
            limit=limit,
        )
