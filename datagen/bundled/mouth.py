"""The inside of the mouth of a talking head made by code."""

from __future__ import annotations

import cv2
import numpy as np

from datagen.faces import geometry
from datagen.faces.topology import INNER_LIPS


class Mouth:
    """The picture between the lips: the portrait's own teeth, or drawn ones, in front of a dark background.

    Args:
        portrait_HWC: uint8 RGB.
        face_NC: (468, 3) landmarks of the portrait.
        unit: the portrait's eye distance in pixels.
    """

    def __init__(self, portrait_HWC: np.ndarray, face_NC: np.ndarray, unit: float) -> None:
        self.portrait_HWC, self.face_NC, self.unit = portrait_HWC, face_NC, unit
        self.has_teeth = float(geometry.mouth_opening(face_NC)) > 0.06
        self.own_HW = _filled(face_NC[INNER_LIPS], portrait_HWC.shape[:2], 0.02 * unit)
        skin = portrait_HWC[tuple(np.round(face_NC[[50, 280], 1::-1]).astype(int).T)].mean(axis=0)
        self.light = float(skin.mean()) / 190
        self.enamel = 0.6 * self.light * np.array([228, 214, 196]) + 0.4 * skin

    def draw(self, image_HWC: np.ndarray, moved_PC: np.ndarray) -> np.ndarray:
        """Paint the inside of the mouth between the inner lips of `moved_PC` into a frame, which is returned."""
        ring = moved_PC[INNER_LIPS]
        x0, y0 = np.maximum(np.floor(ring[:, :2].min(axis=0)).astype(int) - 3, 0)
        x1, y1 = np.ceil(ring[:, :2].max(axis=0)).astype(int) + 4
        part_HWC = image_HWC[y0:y1, x0:x1].astype(np.float32)
        ring = ring - [x0, y0, 0]
        ring[11:, 1] = np.maximum(ring[11:, 1], ring[9:0:-1, 1])  # no opening where the lips touch or cross
        opening_HW = _filled(ring, part_HWC.shape[:2], 0.012 * self.unit)[..., None]
        inside_HWC = self._inside(part_HWC.shape[:2], moved_PC, np.array([x0, y0], np.float64))
        blended = part_HWC + opening_HW * (inside_HWC - part_HWC)
        image_HWC[y0:y1, x0:x1] = np.clip(np.round(blended), 0, 255).astype(np.uint8)
        return image_HWC

    def _inside(self, shape: tuple[int, int], moved_PC: np.ndarray, corner: np.ndarray) -> np.ndarray:
        upper, lower = moved_PC[INNER_LIPS[1:10], :2] - corner, moved_PC[INNER_LIPS[11:], :2][::-1] - corner
        height, width = shape
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        top = np.interp(x[0], *sorted_by_x(upper))[None]
        gap = np.maximum(np.interp(x[0], *sorted_by_x(lower))[None] - top, 1)
        depth = np.clip((y - top) / gap, 0, 1)[..., None]
        dark, tongue = np.array([46, 18, 18], np.float32), np.array([128, 62, 60], np.float32)
        ground = self.light * (dark + (tongue - dark) * np.clip(2.2 * depth - 1.35, 0, 1) * 0.8)
        if not self.has_teeth:
            reach = np.minimum(0.065 * self.unit, 0.45 * gap)
            teeth = np.clip((reach - (y - top)) / (0.02 * self.unit) + 0.5, 0, 1)[..., None]
            middle = (upper[0, 0] + upper[-1, 0]) / 2
            span = max(upper[-1, 0] - upper[0, 0], 1)
            shade = np.clip(1.15 - np.abs(x - middle)[..., None] / (0.62 * span), 0.15, 0.95)
            return ground + teeth * shade * (self.enamel - ground)
        # The portrait's teeth move with the upper lip, not with the jaw.
        to_source, _ = cv2.estimateAffine2D(
            moved_PC[INNER_LIPS[:11], :2] - corner, self.face_NC[INNER_LIPS[:11], :2]
        )
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        teeth_HWC = cv2.warpAffine(self.portrait_HWC, to_source, (width, height), flags=flags).astype(
            np.float32
        )
        own = cv2.warpAffine(
            self.own_HW, to_source, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        return ground + own[..., None] * (teeth_HWC - ground)


def _filled(ring_MC: np.ndarray, shape: tuple[int, int], blur: float) -> np.ndarray:
    """Coverage (H, W) float32 0..1 of a polygon, blurred with a standard deviation of `blur` pixels."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(ring_MC[:, :2] * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
    return cv2.GaussianBlur(mask, (0, 0), max(blur, 0.4)).astype(np.float32) / 255


def sorted_by_x(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """X and y of a curve, sorted by x as `np.interp` needs them."""
    order = np.argsort(points[:, 0], kind="stable")
    return points[order, 0], points[order, 1]
