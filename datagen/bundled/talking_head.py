"""Talking heads made by code: a portrait, its mesh, and a motion that is known exactly.

The portrait is divided into triangles: the face mesh and a coarse grid around it. For every frame the mesh is deformed
by the expression and rotated in 3-D, and the portrait is warped through the moved triangles. The grid moves hair and
neck with the head; towards the background its motion fades to 0. This 2.5-D method is good enough for small angles, as
needed for a demonstration and for tests with known motion.

Shapes: F frames, N = 468 landmarks, P = N + grid points, C = 2 or 3 coordinates. Lengths are pixels unless given in
eye distances.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from scipy.spatial import Delaunay

from datagen.bundled.mouth import Mouth, sorted_by_x
from datagen.common.seeding import keyed_rng
from datagen.faces import geometry
from datagen.faces.topology import (
    CLOSING_TRIANGLES,
    FACE_OVAL,
    INNER_LIPS,
    LEFT_EYE,
    OUTER_LIPS,
    RIGHT_EYE,
    TRIANGLES,
)
from datagen.imaging.warp import draw_triangles, grid_size, triangle_affines

WIDE_OPEN = 0.27  # eye distances between the lips at mouth = 1
GRID = 24  # pixels between the points around the face


@dataclass(frozen=True, eq=False)
class TalkingHead:
    """The true motion of a talking head, float32 (F,) each.

    Attributes:
        yaw, pitch, roll: degrees added to the portrait's own pose, signs as in `faces.geometry.pose`.
        mouth: 0 closed, 1 wide open.
        blink: 0 as in the portrait, 1 closed.
        shift_x, shift_y: movement of the head, in picture widths.
        scale: size of the head, 1 as in the portrait.
        fps: frames per second.
    """

    yaw: np.ndarray
    pitch: np.ndarray
    roll: np.ndarray
    mouth: np.ndarray
    blink: np.ndarray
    shift_x: np.ndarray
    shift_y: np.ndarray
    scale: np.ndarray
    fps: float

    def __len__(self) -> int:
        return len(self.yaw)

    def to_json(self) -> str:
        """All values as JSON, with six decimals."""
        values = {
            name: np.round(np.asarray(value, float), 6).tolist() for name, value in asdict(self).items()
        }
        return json.dumps(values, indent=1)


def talking_head(
    portrait_HWC: np.ndarray,
    landmarks_NC: np.ndarray,
    frames: int,
    fps: float,
    seed: int,
    *,
    yaw: float = 13.0,
) -> tuple[Iterator[np.ndarray], TalkingHead]:
    """A portrait that moves its head, talks and blinks.

    Args:
        portrait_HWC: uint8 RGB, one frontal face with space around it.
        landmarks_NC: (468, 3) landmarks of the portrait.
        frames: number of frames.
        fps: frames per second.
        seed: seed of the motion.
        yaw: largest yaw in degrees; beyond 15, errors of the method become visible.

    Returns:
        An iterator over the frames, each of the portrait's size, and the true motion.
    """
    truth = motion(frames, fps, seed, yaw=yaw)
    return Head(portrait_HWC, landmarks_NC).frames(truth), truth


def motion(frames: int, fps: float, seed: int, *, yaw: float = 13.0) -> TalkingHead:
    """Smooth head motion, syllables in bursts, and a blink about every two seconds."""
    random = keyed_rng(seed, "talking head", "motion")
    time_F = np.arange(frames) / fps

    def sway(size: float, slow: float, quick: float) -> np.ndarray:
        """Sum of two sine waves with random phases and rates in Hz, within plus or minus `size`."""
        waves = [np.sin(2 * np.pi * (rate * time_F + random.random())) for rate in (slow, quick)]
        return (size * (0.75 * waves[0] + 0.25 * waves[1])).astype(np.float32)

    syllables = np.sin(np.pi * (2.6 + 0.5 * sway(1, 0.3, 0.7)) * time_F + random.random()) ** 2
    bursts = np.clip(0.62 + 0.9 * sway(1, 0.45, 0.2), 0, 1)
    mouth = syllables * bursts * (0.8 + 0.2 * sway(1, 1.1, 0.6))
    blink = np.zeros(frames)
    start = 0.5 + 0.5 * random.random()
    while start < time_F[-1] - 0.2:
        blink = np.maximum(blink, np.clip(1.4 * np.exp(-(((time_F - start) / 0.11) ** 2)), 0, 1))
        start += 1.4 + 1.2 * random.random()
    return TalkingHead(
        yaw=sway(yaw, 0.31, 0.62),
        pitch=sway(0.45 * yaw, 0.37, 0.8),
        roll=sway(0.35 * yaw, 0.23, 0.51),
        mouth=mouth.astype(np.float32),
        blink=blink.astype(np.float32),
        shift_x=sway(0.016, 0.21, 0.4),
        shift_y=sway(0.010, 0.33, 0.9),
        scale=1 + sway(0.03, 0.17, 0.35),
        fps=fps,
    )


class Head:
    """A portrait divided into triangles that can be moved."""

    def __init__(self, portrait_HWC: np.ndarray, landmarks_NC: np.ndarray) -> None:
        self.portrait_HWC = portrait_HWC
        self.size = portrait_HWC.shape[1::-1]
        self.face_NC = landmarks_NC.astype(np.float64)
        self.unit = float(geometry.eye_distance(landmarks_NC))
        oval_MC = self.face_NC[FACE_OVAL]
        around_QC, near_Q, distance_Q = self._around(oval_MC)
        self.points_PC = np.concatenate([self.face_NC, around_QC])
        self.triangles = self._triangles(oval_MC, len(around_QC))
        self.centre = np.array([*oval_MC[:, :2].mean(axis=0), oval_MC[:, 2].max()])
        self.follows_P = np.concatenate([np.ones(len(self.face_NC)), self._follow(around_QC)])
        self._near_Q, self._fade_Q = near_Q, np.exp(-distance_Q / (0.45 * self.unit))
        self.own_gap = max(float(geometry.mouth_opening(landmarks_NC)) * self.unit, 0.5)
        self.jaw_NC, self.shut_NC = self._jaw()
        self.lids = [self._lids(ring) for ring in (RIGHT_EYE, LEFT_EYE)]
        self.mouth = Mouth(portrait_HWC, self.face_NC, self.unit)

    def frames(self, truth: TalkingHead) -> Iterator[np.ndarray]:
        """The portrait with this motion, frame by frame."""
        for index in range(len(truth)):
            moved_PC = self._moved(truth, index)
            yield self.mouth.draw(self.render(moved_PC), moved_PC)

    def _moved(self, truth: TalkingHead, index: int) -> np.ndarray:
        gap = float(truth.mouth[index]) * WIDE_OPEN * self.unit
        opening, closing = max(gap - self.own_gap, 0), max(1 - gap / self.own_gap, 0)
        bend_NC = opening * self.jaw_NC + closing * self.shut_NC
        for lid_NC in self.lids:
            bend_NC = bend_NC + lid_NC * float(truth.blink[index])
        bent_PC = self.displaced(bend_NC)
        turn = rotation(truth.yaw[index], truth.pitch[index], truth.roll[index]) * float(truth.scale[index])
        shift = np.array([truth.shift_x[index], truth.shift_y[index], 0.0]) * self.size[0]
        turned_PC = (bent_PC - self.centre) @ turn.T + self.centre + shift
        return self.points_PC + self.follows_P[:, None] * (turned_PC - self.points_PC)

    def displaced(self, bend_NC: np.ndarray) -> np.ndarray:
        """All points, the landmarks displaced by `bend_NC`; grid points follow their nearest outline point."""
        return self.points_PC + np.concatenate(
            [bend_NC, bend_NC[FACE_OVAL][self._near_Q] * self._fade_Q[:, None]]
        )

    def render(self, moved_PC: np.ndarray) -> np.ndarray:
        """The portrait, uint8 (H, W, 3), warped so that its points are at `moved_PC`."""
        grid = grid_size(self.size[1], self.size[0])
        front_T = np.sign(_areas(moved_PC, self.triangles)) == np.sign(_areas(self.points_PC, self.triangles))
        front_T[-len(CLOSING_TRIANGLES) :] = False
        # Triangles that show their back, and those that fill eyes and mouth, are behind all others.
        triangles = np.concatenate([self.triangles[front_T], self.triangles[~front_T]])
        nearest = draw_triangles(moved_PC, triangles[: front_T.sum()], grid)
        behind = draw_triangles(moved_PC, triangles[front_T.sum() :], grid)
        nearest = np.where((nearest < 0) & (behind >= 0), behind + front_T.sum(), nearest)
        affines = triangle_affines(moved_PC, self.points_PC, triangles)[np.maximum(nearest, 0)]
        step_y, step_x = (np.arange(n) * (full / n) for n, full in zip(grid, self.size[::-1], strict=True))
        source = affines[..., 0, :] * step_x[None, :, None] + affines[..., 1, :] * step_y[:, None, None]
        source = source + affines[..., 2, :]
        corners_T3C = self.points_PC[triangles, :2]  # a thin triangle must not sample outside itself
        low_TC, high_TC = corners_T3C.min(axis=1), corners_T3C.max(axis=1)
        shown = np.maximum(nearest, 0)
        source = np.clip(source, low_TC[shown], high_TC[shown])
        source[nearest < 0] = np.stack(np.meshgrid(step_x, step_y), axis=-1)[nearest < 0]
        # The map is known at pixels 0, 2, 4...; `cv2.resize` would place the nodes half a pixel further.
        height, width = self.size[1], self.size[0]
        x, y = np.meshgrid(np.arange(width, dtype=np.float32) / 2, np.arange(height, dtype=np.float32) / 2)
        maps = cv2.remap(source.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return cv2.remap(
            self.portrait_HWC, maps[..., 0], maps[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
        )

    def _around(self, oval_MC: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Grid points outside the face (Q, 3), the index of the nearest outline point of each, and its distance."""
        width, height = self.size
        x = np.append(np.arange(0, width - GRID // 2, GRID), width - 1)
        y = np.append(np.arange(0, height - GRID // 2, GRID), height - 1)
        grid_QC = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float64)
        outline = oval_MC[:, :2].astype(np.float32)
        inside = np.array(
            [cv2.pointPolygonTest(outline, tuple(map(float, point)), True) for point in grid_QC]
        )
        grid_QC = grid_QC[inside < -GRID / 3]
        apart_QM = np.linalg.norm(grid_QC[:, None] - oval_MC[None, :, :2], axis=-1)
        near_Q = apart_QM.argmin(axis=1)
        distance_Q = apart_QM.min(axis=1)
        back = oval_MC[:, 2].max()
        depth_Q = back + (oval_MC[near_Q, 2] - back) * np.exp(-distance_Q / (0.5 * self.unit))
        return np.column_stack([grid_QC, depth_Q]), near_Q, distance_Q

    def _triangles(self, oval_MC: np.ndarray, around: int) -> np.ndarray:
        """Triangles of the face, and a Delaunay triangulation between its outline and the grid points."""
        rim = np.concatenate([FACE_OVAL, len(self.face_NC) + np.arange(around)])
        found = rim[Delaunay(self.points_PC[rim, :2]).simplices]
        centres = self.points_PC[found, :2].mean(axis=1).astype(np.float32)
        outline = oval_MC[:, :2].astype(np.float32)
        outside = [cv2.pointPolygonTest(outline, tuple(map(float, centre)), False) < 0 for centre in centres]
        return np.concatenate([found[outside], TRIANGLES, CLOSING_TRIANGLES]).astype(np.int32)

    def _follow(self, around_QC: np.ndarray) -> np.ndarray:
        """Share (Q,) of the head's motion: 1 on hair and neck, 0 far away and at the picture's border."""
        middle = self.centre[:2] - [0, 0.25 * self.unit]
        apart_Q = np.linalg.norm((around_QC[:, :2] - middle) / [self.unit, 1.2 * self.unit], axis=1)
        border_Q = np.minimum(around_QC[:, :2], np.array(self.size) - 1 - around_QC[:, :2]).min(axis=1)
        return _step(apart_Q, 3.2, 1.5) * _step(border_Q, 0, 0.12 * self.size[0])

    def _jaw(self) -> tuple[np.ndarray, np.ndarray]:
        """Displacements (N, 3): for a jaw that drops by one pixel, and for the portrait's mouth to close."""
        down, across, middle = self._mouth_axes()
        offset_NC = self.face_NC - middle
        below_N, aside_N = offset_NC @ down, offset_NC @ across
        share_N = _step(below_N, 0.0, 0.35 * self.unit)
        share_N[np.concatenate([INNER_LIPS[11:], OUTER_LIPS[11:]])] = 1
        share_N[np.concatenate([INNER_LIPS[1:10], OUTER_LIPS[1:10]])] = 0
        upper, lower = INNER_LIPS[1:10], INNER_LIPS[:10:-1]
        gap_N = np.interp(aside_N, aside_N[upper], below_N[lower] - below_N[upper], left=0, right=0)
        corners = np.concatenate([INNER_LIPS[[0, 10]], OUTER_LIPS[[0, 10]]])
        share_N[corners] = 0.6
        half = np.abs(aside_N[INNER_LIPS[[0, 10]]]).mean()
        share_N *= np.cos(np.pi / 2 * np.clip(np.abs(aside_N) / (2.4 * half), 0, 1)) ** 2
        # The lips close by the gap at each point, the chin moves up as a whole.
        lips_N = _step(below_N, 0.4 * self.unit, 0.1 * self.unit)
        shut_N = lips_N * (share_N > 0) * np.maximum(gap_N, 0) + (1 - lips_N) * share_N * self.own_gap
        shut_N[corners] = 0
        return share_N[:, None] * down, -shut_N[:, None] * down

    def _mouth_axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Unit vectors down and across the mouth in the picture plane, and the middle of the inner lips."""
        across = self.face_NC[INNER_LIPS[10]] - self.face_NC[INNER_LIPS[0]]
        across[2] = 0
        across /= np.linalg.norm(across)
        return np.array([-across[1], across[0], 0]), across, self.face_NC[INNER_LIPS].mean(axis=0)

    def _lids(self, ring: np.ndarray) -> np.ndarray:
        """Displacement (N, 3) that closes one eye; the skin above the upper lid moves with it."""
        one, other = ring[1:8], ring[15:8:-1]
        upper, lower = (
            (one, other) if self.face_NC[one, 1].mean() < self.face_NC[other, 1].mean() else (other, one)
        )
        gap_KC = self.face_NC[lower] - self.face_NC[upper]
        bend_NC = np.zeros_like(self.face_NC)
        apart_NK = np.linalg.norm(self.face_NC[:, None, :2] - self.face_NC[upper][None, :, :2], axis=-1)
        width = np.linalg.norm(self.face_NC[ring[8], :2] - self.face_NC[ring[0], :2])
        share_NK = np.exp(-((apart_NK / (0.22 * width)) ** 2))
        above = self.face_NC[:, 1] < np.interp(self.face_NC[:, 0], *sorted_by_x(self.face_NC[upper]))
        drawn = share_NK @ gap_KC / np.maximum(share_NK.sum(axis=1, keepdims=True), 1e-6)
        bend_NC[above] = 0.8 * (share_NK.max(axis=1, keepdims=True) * drawn)[above]
        bend_NC[ring] = 0
        bend_NC[upper] = 0.95 * gap_KC
        bend_NC[lower] = -0.05 * gap_KC
        return bend_NC


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3, 3) rotation of points: pitched first, then yawed, then rolled; signs as in `faces.geometry.pose`."""
    (sy, sp, sr), (cy, cp, cr) = (f(np.radians([yaw, pitch, roll])) for f in (np.sin, np.cos))
    yawed = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    pitched = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    rolled = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return rolled @ yawed @ pitched


def _step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth step from 0 at `low` to 1 at `high` (which may be the smaller one)."""
    x = np.clip((values - low) / (high - low), 0, 1)
    return x * x * (3 - 2 * x)


def _areas(points_PC: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Twice the signed area of each triangle; the sign changes when the back faces the viewer."""
    (ax, ay), (bx, by) = ((points_PC[triangles[:, k], :2] - points_PC[triangles[:, 0], :2]).T for k in (1, 2))
    return ax * by - ay * bx
