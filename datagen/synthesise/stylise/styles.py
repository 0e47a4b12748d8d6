"""Styles a run draws from: classic filters, artworks and portraits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

from datagen.bundled.artworks import artworks
from datagen.bundled.portraits import portraits
from datagen.common.errors import Refusal, UserError
from datagen.common.text import shown
from datagen.imaging.files import decode_image, folder_licences, image_files, read_bytes
from datagen.recipe import Recipe
from datagen.synthesise.stylise.filters import FILTERS
from datagen.synthesise.stylise.style import Style


def load_styles(
    folder: Path | None, recipe: Recipe, say: Callable[[str], None] | None = None
) -> tuple[Style, ...]:
    """The recipe's filters, and the pictures of `--styles` or the bundled artworks.

    Args:
        say: told of the pictures that cannot be used and are left out, in one line.

    Raises:
        UserError: an unknown filter, or a folder without a usable picture.
    """
    styles: list[Style] = []
    if "filter" in recipe.stylise.backends:
        unknown = [name for name in recipe.stylise.filters if name not in FILTERS]
        if unknown:
            raise UserError(f"stylise.filters = {unknown}: choose from {', '.join(sorted(FILTERS))}", code=2)
        for name in recipe.stylise.filters or tuple(sorted(FILTERS)):
            styles.append(
                Style(name, None, "filter", hashlib.sha256(name.encode()).hexdigest(), "Apache-2.0")
            )
    if any(backend != "filter" for backend in recipe.stylise.backends):
        styles.extend(_pictures(folder, say) if folder is not None else bundled_styles())
    return tuple(styles)


@cache
def bundled_styles() -> tuple[Style, ...]:
    """The bundled artworks, then the bundled portraits, whose colours a clip may take over."""
    found = [
        Style(name, picture, "art", hashlib.sha256(picture.tobytes()).hexdigest(), licence)
        for name, (picture, _, licence) in artworks().items()
    ]
    for portrait in portraits():
        digest = hashlib.sha256(portrait.image.tobytes()).hexdigest()
        found.append(Style(f"portrait-{portrait.name}", portrait.image, "portrait", digest, portrait.licence))
    return tuple(found)


def _pictures(folder: Path, say: Callable[[str], None] | None) -> list[Style]:
    licences = folder_licences(folder)
    styles = []
    refused = []
    for path in image_files(folder):
        name = shown(path.relative_to(folder))
        try:
            data = read_bytes(path)
            image = decode_image(data)
        except Refusal as refusal:
            refused.append(f"{name} ({refusal.message})")
            continue
        styles.append(
            Style(name, image, "art", hashlib.sha256(data).hexdigest(), licences.get(name, "unstated"))
        )
    shortly = "; ".join(refused[:3]) + ("; ..." if len(refused) > 3 else "")
    if not styles:
        raise UserError(f"no picture of {folder} can serve as a style: {shortly}", code=2)
    if refused and say is not None:
        say(f"warning: {len(refused)} of {len(styles) + len(refused)} styles are left out: {shortly}")
    return styles
