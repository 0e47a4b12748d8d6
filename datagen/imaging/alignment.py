"""Alignment of faces, and the moves that give a target's face the shape of a donor's.

Shapes: `N` landmarks, `C` = 3 coordinates (x, y in pixels, z in the same unit).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datagen.faces.topology import FACE_OVAL, INNER_LIPS, LEFT_EYE, RIGHT_EYE

# Lengths are shares of the face's size.
_MAX_MOVE = 0.06  # largest move of a landmark
_RIM = 0.12  # width of the zone inside the face's outline in which moves are reduced
_OUTLINE_SHARE = 0.55  # share of a move that is left at the outline: the head beyond it stays the target's
_OPENING_REACH = {"eye": 0.06, "mouth": 0.07}  # distance within which points move with an eye or the mouth


@dataclass(frozen=True)
class Similarity:
    """Scale, rotation and shift: `scale * points @ rotation + shift`."""

    scale: float
    rotation: np.ndarray
    shift: np.ndarray

    @classmethod
    def between(cls, source_NC: np.ndarray, target_NC: np.ndarray) -> Similarity:
        """Least-squares similarity that maps `source_NC` onto `target_NC`, in closed form (Umeyama 1991)."""
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
        """Rotate and scale displacements, without the shift."""
        return self.scale * moves_NC @ self.rotation


def size_of(points_NC: np.ndarray) -> float:
    """Longer side of the box around the points, in pixels."""
    return float(np.ptp(points_NC[:, :2], axis=0).max())


def mean_shape(landmarks_FNC: np.ndarray, frames: int = 30) -> np.ndarray:
    """Median (N, 3) of `frames` evenly spread faces of a clip, aligned to the pose of its middle frame."""
    shape = landmarks_FNC[len(landmarks_FNC) // 2]
    chosen = landmarks_FNC[
        np.linspace(0, len(landmarks_FNC) - 1, min(frames, len(landmarks_FNC))).astype(int)
    ]
    for _ in range(3):
        shape = np.median([Similarity.between(face, shape)(face) for face in chosen], axis=0)
    return shape.astype(np.float32)


def identity_moves(target_NC: np.ndarray, donor_NC: np.ndarray, strength: float) -> np.ndarray:
    """Moves (N, 3) of the target's mean face towards the donor's shape; z does not move.

    Rotated by the head's pose and added to every frame, they change the shape of the face and keep its motion. Eyes and
    mouth are moved and scaled as a whole, so that they stay as far open as the target's. Towards the outline the moves
    are reduced, because the head around the face is the target's.

    Args:
        target_NC: mean face of the target.
        donor_NC: face of the donor.
        strength: factor of the moves; 0 keeps the target's shape.
    """
    donor_NC = Similarity.between(donor_NC, target_NC)(donor_NC)
    size = size_of(target_NC)
    moves = donor_NC - target_NC
    inward = np.clip(_distance(target_NC, target_NC[FACE_OVAL]) / (_RIM * size), 0, 1)
    moves *= (_OUTLINE_SHARE + (1 - _OUTLINE_SHARE) * inward**2 * (3 - 2 * inward))[:, None]
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
    return (strength * moves * np.minimum(1, _MAX_MOVE * size / length)).astype(np.float32)


def _distance(points_NC: np.ndarray, ring_NC: np.ndarray) -> np.ndarray:
    """Distance (N,) in the picture plane from each point to the nearest point of a ring."""
    return np.linalg.norm(points_NC[:, None, :2] - ring_NC[None, :, :2], axis=2).min(axis=1)
