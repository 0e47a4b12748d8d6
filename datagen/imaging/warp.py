"""Warps between two faces, one affine map per triangle, on a grid of reduced resolution.

Shapes: `N` landmarks, `T` triangles, `h`, `w` rows and columns of the grid; node (row, column) is at pixel
(column * STEP, row * STEP).
"""

from __future__ import annotations

import cv2
import numpy as np

STEP = 2  # pixels between grid nodes; the map is linear inside a triangle, so the loss is not visible
_SUBPIXEL_BITS = 4


def grid_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the grid that covers a picture."""
    return -(-height // STEP), -(-width // STEP)


def nodes(grid: tuple[int, ...]) -> np.ndarray:
    """Pixel x, y of every node, (h, w, 2) float32."""
    columns, rows = np.meshgrid(np.arange(grid[1], dtype=np.float32), np.arange(grid[0], dtype=np.float32))
    return np.dstack([columns, rows]) * STEP


def to_grid(points_NC: np.ndarray) -> np.ndarray:
    """Points in fixed-point grid coordinates, as OpenCV's drawing takes them with `shift=_SUBPIXEL_BITS`."""
    return np.round(points_NC[..., :2] / STEP * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def draw_triangles(points_NC: np.ndarray, triangles_T3: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Index (h, w) int32 of the triangle nearest to the viewer at each node; -1 where there is none."""
    index = np.full(grid, -1, np.int32)
    corners = to_grid(points_NC[triangles_T3])
    far_first = np.argsort(-points_NC[triangles_T3, 2].mean(axis=1), kind="stable")
    for triangle in far_first.tolist():
        cv2.fillConvexPoly(index, corners[triangle], triangle, lineType=cv2.LINE_8, shift=_SUBPIXEL_BITS)
    return index


def triangle_affines(target_NC: np.ndarray, source_NC: np.ndarray, triangles_T3: np.ndarray) -> np.ndarray:
    """For each triangle the affine map from target pixels to source pixels, (T, 3, 2) float32.

    `source = x * A[0] + y * A[1] + A[2]`. A target triangle without area maps to the source's first corner.
    """
    target = target_NC[triangles_T3, :2].astype(np.float64)
    source = source_NC[triangles_T3, :2].astype(np.float64)
    (ax, ay), (bx, by) = (np.moveaxis(target[:, k] - target[:, 0], -1, 0) for k in (1, 2))
    area = ax * by - ay * bx
    flat = np.abs(area) < 1e-3
    inverse = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, area))[:, None]
    along, across = source[:, 1] - source[:, 0], source[:, 2] - source[:, 0]
    by_x = (along * by[:, None] - across * ay[:, None]) * inverse
    by_y = (across * ax[:, None] - along * bx[:, None]) * inverse
    origin = source[:, 0] - by_x * target[:, 0, :1] - by_y * target[:, 0, 1:]
    return np.stack([by_x, by_y, origin], axis=1).astype(np.float32)


def spread_outwards(field_hwC: np.ndarray, inside_hw: np.ndarray, reach: float) -> np.ndarray:
    """Extend a field smoothly beyond the nodes where it is known; it fades to 0 over about `reach` nodes.

    Well inside the known region the field is unchanged. Near its edge it is blended with the extension, so that there
    is no step between the two.
    """
    height, width = inside_hw.shape
    half = (max(1, width // 2), max(1, height // 2))
    known = np.dstack([field_hwC * inside_hw[..., None], inside_hw]).astype(np.float32)
    blurred = cv2.GaussianBlur(cv2.resize(known, half, interpolation=cv2.INTER_AREA), (0, 0), reach / 2)
    total = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    weight = total[..., -1:]
    beyond = total[..., :-1] / np.maximum(weight, 0.02) * np.minimum(2 * weight, 1)
    # `weight` is about 0.5 at the edge of the known region and 1 well inside.
    deep = np.clip(4 * weight - 2.6, 0, 1) * inside_hw[..., None]
    return deep * field_hwC + (1 - deep) * beyond


def to_pixels(field: np.ndarray, height: int, width: int) -> np.ndarray:
    """A field on the grid, interpolated linearly at every pixel of a (height, width) picture."""
    matrix = np.array([[1 / STEP, 0, 0], [0, 1 / STEP, 0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(field, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def sample(image: np.ndarray, positions_HW2: np.ndarray) -> np.ndarray:
    """The image, sampled at pixel positions x, y; beyond the border its edge is repeated."""
    x, y = cv2.split(positions_HW2.astype(np.float32, copy=False))
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
