"""The parts of the face among the 468 landmarks, and the triangles between them.

"Right" and "left" are the person's. Rings run clockwise on the screen for a frontal face, as the triangles do.
The triangles come from MediaPipe's `face_mesh_connections.py` (Apache-2.0), by `datagen.faces.mediapipe.convert`.
"""

from __future__ import annotations

import numpy as np

from datagen.faces.mediapipe.shipped import TRIANGLES_NAME, WEIGHTS


def _indices(*numbers: int) -> np.ndarray:
    array = np.array(numbers, np.intp)
    array.setflags(write=False)
    return array


def _close(ring: np.ndarray) -> np.ndarray:
    """Triangles that fill a ring: a strip between its two sides, from the first point to the opposite one."""
    strip = []
    low, high = 0, len(ring) - 1
    while high - low > 1:
        strip.append((ring[low], ring[low + 1], ring[high]))
        if high - low > 2:
            strip.append((ring[low + 1], ring[high - 1], ring[high]))
        low, high = low + 1, high - 1
    return np.array(strip, np.int16)


FACE_OVAL = _indices(
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""(36,) outline from the top of the forehead."""

JAW = FACE_OVAL[7:30]
"""(23,) outline from temple to temple by way of the chin."""

RIGHT_EYE = _indices(33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
"""(16,) lids from the outer corner."""

LEFT_EYE = _indices(263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
"""(16,) lids from the outer corner."""

EYE_CORNERS = _indices(33, 133, 263, 362).reshape(2, 2)
"""(2, 2) right eye then left eye; outer then inner corner."""

RIGHT_BROW = _indices(46, 70, 63, 105, 66, 107, 55, 65, 52, 53)
LEFT_BROW = _indices(336, 296, 334, 293, 300, 276, 283, 282, 295, 285)

OUTER_LIPS = _indices(
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146
)  # fmt: skip
"""(20,) from the right corner of the mouth."""

INNER_LIPS = _indices(
    78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95
)  # fmt: skip
"""(20,) from the right corner of the mouth."""

NOSE_TIP, NOSE_BASE, CHIN = 1, 2, 152

BROW_TO_CHIN = np.unique(np.concatenate([JAW, RIGHT_BROW, LEFT_BROW, OUTER_LIPS, _indices(NOSE_TIP, 4)]))
"""Landmarks whose tight box is the face box."""

DLIB_POINTS = _indices(263, 362, 33, 133, NOSE_BASE)
"""Five points by which dlib aligns faces, in dlib's order."""

TRIANGLES = np.load(WEIGHTS / TRIANGLES_NAME, allow_pickle=False)
"""(852, 3) int16 triangles of the skin, with holes at the eyes and the mouth."""

CLOSING_TRIANGLES = np.concatenate([_close(RIGHT_EYE), _close(LEFT_EYE), _close(INNER_LIPS)])
"""(46, 3) int16 triangles that fill the holes at the eyes and the mouth."""

for _table in (BROW_TO_CHIN, TRIANGLES, CLOSING_TRIANGLES):
    _table.setflags(write=False)
