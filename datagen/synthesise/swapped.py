"""The swapped stream of a clip: choice of the donor, swap, measures and gates."""

from __future__ import annotations

import numpy as np

from datagen.common.errors import Refusal
from datagen.common.seeding import seed_of
from datagen.donors.donor import Donor
from datagen.donors.pool import Pool
from datagen.faces.geometry import pose
from datagen.faces.types import Faces
from datagen.output.schema import Row
from datagen.recipe import Recipe
from datagen.synthesise.backends import Backends
from datagen.synthesise.gates import gate_swap, identity_columns, motion_columns
from datagen.synthesise.made_clip import MadeClip
from datagen.synthesise.swap.base import Swapper


def swap(
    video: np.ndarray, made: MadeClip, row: Row, faces: Faces, recipe: Recipe, backends: Backends, pool: Pool
) -> np.ndarray | None:
    """Swap the face of a clip.

    Args:
        video: (F, S, S, 3) frames of the target.
        made: receives columns and times, or the refusal.
        row: row of the clip.
        faces: the tracked face in the target.
        recipe: settings and gates.
        backends: swapper, and the analyser for the measures.
        pool: donors of the clip's wave.

    Returns:
        The swapped frames; None if swapping is off or was refused.
    """
    if backends.swapper is None:
        return None
    try:
        with made.timed("swap"):
            donor, distance, swapped = swap_in_turn(video, row, faces, recipe, backends.swapper, pool)
        with made.timed("measure"):
            again = backends.analyser.track(swapped, irises=False)
            quality = motion_columns("swapped", video, faces, swapped, again)
            quality |= identity_columns(
                video, faces, swapped, again, donor, backends.analyser, recipe.swap.identity_frames
            )
        gate_swap(quality, recipe.gates)
    except Refusal as refusal:
        made.left_out["swapped"] = refusal
        made.columns["swap_refused"] = str(refusal)
        return None
    made.columns |= quality | {
        "donor": donor.name,
        "donor_sha256": donor.sha256,
        "donor_pool": pool.sha256,
        "donor_to_source": distance,
        "swapper": "mesh (weak)" if backends.swapper.name == "mesh" else backends.swapper.name,
    }
    return swapped


def swap_in_turn(
    frames: np.ndarray, row: Row, faces: Faces, recipe: Recipe, swapper: Swapper, pool: Pool
) -> tuple[Donor, float | None, np.ndarray]:
    """Swap with the first donor; if its pose does not fit, try those of the other donors with the most similar yaw.

    Raises:
        Refusal: there is no donor, or the swap refused all donors that were tried.
    """
    embedding = None if row["embedding"] is None else np.asarray(row["embedding"], np.float32)
    offered = pool.choose(
        row["clip_id"], row["rank"], row["split"], embedding,
        row["source"], row["subject"], row["person"], recipe,
    )  # fmt: skip
    seed = seed_of(recipe.seed, row["clip_id"], "swap")
    donor, distance = next(offered)
    try:
        return donor, distance, swapper(frames, faces, donor, seed)
    except Refusal as refusal:
        if refusal.reason != "yaw":
            raise
        first = refusal
    yaw = float(np.nanmedian(faces.pose[:, 0]))
    others = sorted(offered, key=lambda item: abs(float(pose(item[0].landmarks)[0]) - yaw))
    for donor, distance in others[: recipe.donors.tries - 1]:
        try:
            return donor, distance, swapper(frames, faces, donor, seed)
        except Refusal as refusal:
            if refusal.reason != "yaw":
                raise
    raise first
