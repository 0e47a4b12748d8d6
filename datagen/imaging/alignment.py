"""Face geometry across people: rigid alignment, and a donor's shape on another's motion.

Shapes: `N` landmarks, `C` = 3 coordinates (x, y in pixels, z in the same unit).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datagen.faces.topology import FACE_OVAL, INNER_LIPS, LEFT_EYE, RIGHT_EYE

_LIMIT = 0.06  # largest move of a landmark, as a share of the face's size
_RIM = 0.12  # width of the zone at the face's outline where moves shrink, as a share of its size
_OUTLINE = 0.55  # what is left of a move at the outline itself: beyond it the target's own head follows
_OPENING_REACH = {
    "eye": 0.06,
    "mouth": 0.07,
}  # how far eyes and mouth move as one piece, as a share of the size


@dataclass(frozen=True)
class Similarity:
    """`points * scale @ rotation + shift`."""

    scale: float
    rotation: np.ndarray
    shift: np.ndarray

    @classmethod
    def between(cls, source_NC: np.ndarray, target_NC: np.ndarray) -> Similarity:
        """Least-squares similarity that takes `source_NC` to `target_NC` (Umeyama 1991)."""
        source_mean, target_mean = source_NC.mean(axis=0), target_NC.mean(axis=0)
        source, target = source_NC - source_mean, target_NC - target_mean
        left, spread, right = np.linalg.svd(source.T.astype(np.float64) @ target)
        flip = np.ones(source.shape[1])
        flip[-1] = np.sign(np.linalg.det(left @ right)) or 1.0
        rotation = left @ np.diag(flip) @ right
        scale = float((spread * flip).sum() / np.square(source).sum())
        return cls(scale, rotation, target_mean - scale * source_mean @ rotation)

    def __call__(self, points_NC: np.ndarray) -> np.ndarray:
        return self.scale * points_NC @ self.rotation + self.shift

    def turn(self, moves_NC: np.ndarray) -> np.ndarray:
        """Rotate and scale differences of points."""
        return self.scale * moves_NC @ self.rotation


def size_of(points_NC: np.ndarray) -> float:
    """Larger side of the box around the points, in pixels."""
    return float(np.ptp(points_NC[:, :2], axis=0).max())


def mean_shape(landmarks_FNC: np.ndarray, frames: int = 30) -> np.ndarray:
    """Median face of a clip after rigid alignment, (N, 3), posed like the clip's middle frame."""
    shape = landmarks_FNC[len(landmarks_FNC) // 2]
    chosen = landmarks_FNC[
        np.linspace(0, len(landmarks_FNC) - 1, min(frames, len(landmarks_FNC))).astype(int)
    ]
    for _ in range(3):
        shape = np.median([Similarity.between(face, shape)(face) for face in chosen], axis=0)
    return shape.astype(np.float32)


def identity_moves(target_NC: np.ndarray, donor_NC: np.ndarray, strength: float) -> np.ndarray:
    """How each landmark of the target's mean face must move to look like the donor, (N, 3), z unmoved.

    Added (turned by the head's pose) to every frame, it changes the face's build and keeps its motion. Eyes and
    mouth move and grow as whole pieces, so that how far they are open stays the target's; towards the outline
    the moves shrink, since the head around the face is the target's.
    """
    donor_NC = Similarity.between(donor_NC, target_NC)(donor_NC)
    size = size_of(target_NC)
    moves = donor_NC - target_NC
    inward = np.clip(_distance(target_NC, target_NC[FACE_OVAL]) / (_RIM * size), 0, 1)
    moves *= (_OUTLINE + (1 - _OUTLINE) * inward**2 * (3 - 2 * inward))[:, None]
    for part, ring in (("eye", RIGHT_EYE), ("eye", LEFT_EYE), ("mouth", INNER_LIPS)):
        here, there = target_NC[ring].mean(axis=0), donor_NC[ring].mean(axis=0)
        growth = np.clip(Similarity.between(target_NC[ring], donor_NC[ring]).scale, 0.9, 1.12)
        whole = growth * (target_NC - here) + there - target_NC
        near = np.exp(-np.square(_distance(target_NC, target_NC[ring]) / (_OPENING_REACH[part] * size)))[
            :, None
        ]
        moves = moves * (1 - near) + whole * near
    moves[:, 2] = 0
    length = np.maximum(np.linalg.norm(moves, axis=1, keepdims=True), 1e-6)
    return (strength * moves * np.minimum(1, _LIMIT * size / length)).astype(np.float32)


def _distance(points_NC: np.ndarray, ring_NC: np.ndarray) -> np.ndarray:
    """Distance (N,) in the picture from each point to the nearest point of a ring."""
    return np.linalg.norm(points_NC[:, None, :2] - ring_NC[None, :, :2], axis=2).min(axis=1)
