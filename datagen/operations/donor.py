"""Portraits that can lend their identity: what makes one fit, checked like a clip is.

Shapes: `H` height, `W` width, `C` channels or coordinates, `N` landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Donor:
    """A portrait cropped around its face, with everything a swap needs.

    Attributes:
        name: unique in its pool.
        image: (H, W, 3) uint8 RGB crop.
        landmarks: (468, 3) float32 in the crop's pixels.
        embedding: (128,) float32 identity.
        sha256: of the portrait's file, hexadecimal.
        licence: as stated where the portrait comes from.
        origin: where it comes from.
        colour: False for black-and-white portraits.
    """

    name: str
    image: np.ndarray
    landmarks: np.ndarray
    embedding: np.ndarray
    sha256: str = ""
    licence: str = "unstated"
    origin: str = ""
    colour: bool = True
