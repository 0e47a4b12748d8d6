"""What a clip's look is changed to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Style:
    """What a clip's look is changed to.

    Attributes:
        name: as recorded in the index; of a filter, its name in `FILTERS`.
        image: (H, W, 3) uint8 RGB, None for filters.
        kind: `art` (a picture's look), `portrait` (a person's look) or `filter`.
        sha256: of the picture's file, hexadecimal.
        licence: as stated where it comes from.
    """

    name: str
    image: np.ndarray | None
    kind: Literal["art", "portrait", "filter"]
    sha256: str = ""
    licence: str = "unstated"
