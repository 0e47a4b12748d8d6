"""Measures of a face from its landmarks.

Every function takes any leading axes, so it can measure a whole clip at once. `landmarks` is (..., 468, 3) in pixels:
x right, y down, z away from the viewer. Lengths are measured in 3-D, so that head turns do not change them, and divided
by another length of the same face, so that people and picture sizes can be compared.
"""

from __future__ import annotations

import numpy as np

from datagen.faces.topology import BROW_TO_CHIN, EYE_CORNERS

_LIP_GAPS = np.array([(82, 87), (13, 14), (312, 317)])
_LID_GAPS = np.array([[(160, 144), (159, 145), (158, 153)], [(387, 373), (386, 374), (385, 380)]])
# Points that move with the skull and not with the expression.
_SIDES = np.array([(33, 263), (133, 362), (127, 356), (234, 454), (21, 251), (54, 284), (98, 327)])
_UPPER, _LOWER = np.array([10, 151, 9, 168]), np.array([2, 98, 327])


def face_box(landmarks: np.ndarray) -> np.ndarray:
    """Tight box from brows to chin, (..., 4) float32 x0, y0, x1, y1."""
    points = landmarks[..., BROW_TO_CHIN, :2]
    return np.concatenate([points.min(axis=-2), points.max(axis=-2)], axis=-1).astype(np.float32)


def square(box: np.ndarray) -> np.ndarray:
    """Square box (..., 4) float32 with the centre and the longer side of `box`."""
    low, high = box[..., :2], box[..., 2:]
    half = (high - low).max(axis=-1, keepdims=True) / 2
    centre = (low + high) / 2
    return np.concatenate([centre - half, centre + half], axis=-1).astype(np.float32)


def pose(landmarks: np.ndarray) -> np.ndarray:
    """Head pose (..., 3) float32: yaw, pitch, roll in degrees; at 0, 0, 0 the face looks into the camera.

    Yaw is positive when the nose points to the right of the picture, pitch when it points up, roll when the head is
    turned clockwise in the picture. The head is pitched first, then yawed, then rolled, so turning the picture
    changes only the roll. The projection is taken as orthographic, as in the mesh network. Pitch is measured
    from the forehead to the nose base. The slope of this line differs between people, so each person has a constant
    error of a few degrees.
    """
    points = landmarks.astype(np.float64)
    across = _unit((points[..., _SIDES[:, 1], :] - points[..., _SIDES[:, 0], :]).sum(axis=-2))
    down = points[..., _LOWER, :].mean(axis=-2) - points[..., _UPPER, :].mean(axis=-2)
    down = _unit(down - (down * across).sum(axis=-1, keepdims=True) * across)
    back = np.cross(across, down)
    yaw = np.arcsin(np.clip(across[..., 2], -1, 1))
    pitch = np.arctan2(-down[..., 2], back[..., 2])
    roll = np.arctan2(across[..., 1], across[..., 0])
    return np.degrees(np.stack([yaw, pitch, roll], axis=-1)).astype(np.float32)


def eye_distance(landmarks: np.ndarray) -> np.ndarray:
    """Distance (...) between the centres of the eyes, in pixels."""
    centres = landmarks[..., EYE_CORNERS, :].mean(axis=-2)
    return np.linalg.norm(centres[..., 1, :] - centres[..., 0, :], axis=-1)


def mouth_opening(landmarks: np.ndarray) -> np.ndarray:
    """Gap (...) between the lips in eye distances: about 0 closed, 0.5 wide open."""
    return _gaps(landmarks, _LIP_GAPS).mean(axis=-1) / eye_distance(landmarks)


def eye_opening(landmarks: np.ndarray) -> np.ndarray:
    """Gap (...) between the lids in eye widths, mean of both eyes: about 0.1 closed, 0.3 to 0.4 open."""
    return (_gaps(landmarks, _LID_GAPS).mean(axis=-1) / _gaps(landmarks, EYE_CORNERS)).mean(axis=-1)


def gaze(landmarks: np.ndarray, irises: np.ndarray) -> np.ndarray:
    """Position of the irises in the eyes, (..., 2) in eye widths from the middle of the eye corners, mean of both eyes.

    The first number runs along the line of the eyes, positive to the right of the picture; the second across it,
    positive downwards. `irises` is (..., 2, 5, 2).
    """
    corners = landmarks[..., EYE_CORNERS, :2].astype(np.float64)
    along = corners[..., 1, :] - corners[..., 0, :]  # outer to inner: to the right in the right eye
    along[..., 1, :] *= -1
    width = np.linalg.norm(along, axis=-1, keepdims=True)
    along /= width
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    offset = (irises[..., 0, :] - corners.mean(axis=-2)) / width
    return np.stack([(offset * along).sum(axis=-1), (offset * across).sum(axis=-1)], axis=-1).mean(axis=-2)


def _gaps(landmarks: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return np.linalg.norm(landmarks[..., pairs[..., 0], :] - landmarks[..., pairs[..., 1], :], axis=-1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
