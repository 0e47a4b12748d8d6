"""Content hashes that are part of the recipe hash: models, donors, styles, a custom ffmpeg."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from datagen.bundled.demo_set import portraits
from datagen.common.errors import Refusal, UserError
from datagen.common.hashing import file_sha256, pixels_sha256
from datagen.common.text import shown
from datagen.faces import FaceAnalyser
from datagen.imaging.files import image_files, image_sha256
from datagen.recipe import Recipe
from datagen.synthesise.stylise.base import build_stylist
from datagen.synthesise.stylise.styles import load_styles
from datagen.synthesise.swap.base import build_swapper


def content_hashes(
    recipe: Recipe, donors: Path | None, styles: Path | None, say: Callable[[str], None] | None = None
) -> dict[str, str]:
    """Name -> sha256 of everything outside the recipe that changes the bytes of the output.

    Args:
        recipe: decides which backends and pictures are used.
        donors: folder of portraits, or None.
        styles: folder of style pictures, or None.
        say: called with a line for each style that is left out.

    Raises:
        UserError: a folder does not exist or holds no picture, or a backend is unknown.
    """
    found = {}
    swapper = build_swapper(recipe)
    models = [*FaceAnalyser().models]
    models += swapper.models if swapper else ()
    for name in recipe.stylise.backends:
        models += build_stylist(name, recipe).models
    for model in models:
        found[f"model {model.name}"] = model.sha256
    if donors is not None:
        for path in image_files(
            donors
        ):  # named by hash, since a name would remain after the person is withdrawn
            try:
                sha256 = image_sha256(path)
            except Refusal as refusal:  # the freeze of the pool refuses it with the same reason
                sha256 = hashlib.sha256(
                    f"{shown(path.relative_to(donors))} {refusal.reason}".encode()
                ).hexdigest()
            found[f"donor {sha256[:16]}"] = sha256
    elif swapper is not None and recipe.donors.bundled:
        for portrait in portraits():
            sha256 = pixels_sha256(portrait.image)
            found[f"donor {sha256[:16]}"] = sha256
    for style in load_styles(styles, recipe, say):
        found[f"style {style.name if style.image is None else style.sha256[:16]}"] = style.sha256
    if recipe.encode.ffmpeg is not None:
        binary = Path(recipe.encode.ffmpeg)
        if not binary.is_file():
            raise UserError(
                f"encode.ffmpeg = {str(binary)!r} is not a file; leave it out for the bundled one", code=2
            )
        found["ffmpeg"] = file_sha256(binary)
    return found
