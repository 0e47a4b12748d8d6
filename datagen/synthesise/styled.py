"""The styled stream of a clip: choice of the style, stylised frames, measures and gates."""

from __future__ import annotations

import numpy as np

from datagen.common.errors import Refusal
from datagen.common.seeding import keyed_rng, seed_of
from datagen.donors.pool import Pool
from datagen.faces.types import Faces
from datagen.output.schema import Row
from datagen.recipe import Recipe
from datagen.synthesise.backends import Backends
from datagen.synthesise.gates import gate_style, motion_columns
from datagen.synthesise.made_clip import MadeClip
from datagen.synthesise.stylise.base import Stylist
from datagen.synthesise.stylise.style import Style


def stylise(
    video: np.ndarray,
    made: MadeClip,
    row: Row,
    faces: Faces,
    recipe: Recipe,
    backends: Backends,
    pool: Pool,
    withdrawn: frozenset[str],
) -> np.ndarray | None:
    """Change the look of a clip. Arguments as for `datagen.synthesise.swapped.swap`, and:

    Args:
        withdrawn: sha256 of withdrawn pictures.

    Returns:
        The stylised frames; None if styles are off or the style was refused.
    """
    if not backends.stylists:
        return None
    try:
        stylist, style = choose_style(row, recipe, backends, pool, withdrawn)
        with made.timed("stylise"):
            styled = stylist(video, faces, style, seed_of(recipe.seed, row["clip_id"], "stylise"))
        with made.timed("measure"):
            again = backends.analyser.track(styled, irises=False)
            quality = motion_columns("styled", video, faces, styled, again)
        gate_style(quality, recipe.gates)
    except Refusal as refusal:
        made.left_out["styled"] = refusal
        made.columns["style_refused"] = str(refusal)
        return None
    made.columns |= quality | {"style": style.name, "style_sha256": style.sha256, "stylist": stylist.name}
    return styled


def choose_style(
    row: Row, recipe: Recipe, backends: Backends, pool: Pool, withdrawn: frozenset[str]
) -> tuple[Stylist, Style]:
    """Draw a backend and then one of its styles, with the clip's seeded generator.

    The order in which styles are tried does not depend on which of them were withdrawn.
    """
    generator = keyed_rng(recipe.seed, row["clip_id"], "style")
    stylist = backends.stylists[
        recipe.stylise.backends[int(generator.integers(len(recipe.stylise.backends)))]
    ]
    filters = stylist.name == "filter"
    styles: list[Style | None] = [style for style in backends.styles if (style.kind == "filter") == filters]
    if recipe.stylise.portraits and not filters:
        for donor in pool.style_portraits(row["source"], row["subject"], row["person"], row["split"]):
            style = (
                Style(f"portrait {donor.name}", donor.image, "portrait", donor.sha256, donor.licence)
                if donor
                else None
            )
            styles.append(style)
    for number in generator.permutation(len(styles)):
        chosen = styles[int(number)]
        if chosen is not None and chosen.sha256 not in withdrawn:
            return stylist, chosen
    raise Refusal("no_style", f"the {stylist.name} backend has no style to choose from", "give --styles")
