"""Styles a run draws from: classic filters, artworks and portraits."""

from __future__ import annotations

import hashlib
from pathlib import Path

from datagen.demo import styles as bundled_styles
from datagen.errors import Refusal, UserError
from datagen.operations.stylise import FILTERS, Style
from datagen.pool import decode_image, folder_licences, image_files
from datagen.recipe import Recipe


def load_styles(folder: Path | None, recipe: Recipe) -> tuple[Style, ...]:
    """The recipe's filters, and the pictures of `--styles` or the bundled artworks.

    Raises:
        UserError: an unknown filter, or a folder without a readable picture.
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
        styles.extend(_pictures(folder) if folder is not None else bundled_styles())
    return tuple(styles)


def _pictures(folder: Path) -> list[Style]:
    licences = folder_licences(folder)
    styles = []
    for path in image_files(folder):
        data = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        try:
            image = decode_image(data)
        except Refusal as refusal:
            raise UserError(f"style {name}: {refusal.message}; remove or replace it") from refusal
        styles.append(
            Style(name, image, "art", hashlib.sha256(data).hexdigest(), licences.get(name, "unstated"))
        )
    return styles
