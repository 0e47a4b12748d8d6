"""The bundled artworks."""

from __future__ import annotations

import numpy as np

from datagen.synthesise.stylise.styles import bundled_styles


def test_bundled_artworks_are_pictures_with_terms() -> None:
    found = {style.name: style for style in bundled_styles()}
    assert {"strokes", "night", "mosaic", "woodcut", "watercolour", "blocks", "portrait-hopper"} <= set(found)
    for style in found.values():
        assert style.image is not None and style.image.dtype == np.uint8 and style.image.std() > 20
        assert style.licence != "unstated" and len(style.sha256) == 64
    assert len({style.sha256 for style in found.values()}) == len(found)
