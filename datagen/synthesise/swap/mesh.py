"""Face swap without a generator network: the donor's skin is warped onto the target's face mesh in every frame.

From the donor come brows, eyelids, nose, lips, skin, and the shape of the face. From the target come head pose,
expression, eyeballs, inside of the mouth, light, hair and everything around the face. The result is weaker than that
of a trained swapper (no occlusion, no profile views) and is labelled as such.

Shapes: `F` frames, `H` height, `W` width, `C` channels or coordinates, `N` landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from datagen.common.errors import Refusal
from datagen.donors.donor import Donor
from datagen.faces.geometry import pose
from datagen.faces.smoothing import fill_gaps, without_jitter
from datagen.faces.topology import CLOSING_TRIANGLES, TRIANGLES
from datagen.faces.types import Faces
from datagen.imaging import regions, warp
from datagen.imaging import skin as colour
from datagen.imaging.alignment import Similarity, identity_moves, mean_shape, size_of
from datagen.weights.onnx import ModelInfo

_MARGIN = 0.22  # around the face: what is redrawn when its shape changes, as a share of the face's size
_REACH = 0.10  # how far around the face the picture is warped, as a share of the face's size
_RIM = 0.025  # width taken off the face's edge before it fades, as a share of the face's size
_FILLED = np.concatenate([TRIANGLES, CLOSING_TRIANGLES]).astype(np.intp)
_MIN_DENSITY = (
    0.3  # donor pixels per result pixel, relative to the face's median: skin below is too stretched
)
_MAX_TURNED = 0.2  # share of frames turned too far, above which a clip is refused


@dataclass(frozen=True)
class _Clip:
    """What is the same in every frame of one clip."""

    skin: np.ndarray  # (H, W, 4) donor in the clip's colours and resolution; alpha 255 where it may be used
    landmarks: np.ndarray  # (N, 3) of the donor in `skin`
    mean: np.ndarray  # (N, 3) mean face of the clip
    moves: np.ndarray  # (N, 3) from the shape of the target's face to the donor's
    size: float  # of the face, pixels


class MeshSwap:
    """Swap by mesh warp.

    Attributes:
        name: the backend's name in recipes and rows.
        models: none.
    """

    name = "mesh"
    models: tuple[ModelInfo, ...] = ()

    def __init__(self, *, shape: float = 0.9, max_yaw_difference: float = 40.0, light: float = 0.85) -> None:
        """Configure.

        Args:
            shape: how far the shape of the face moves towards the donor's, 0..1.
            max_yaw_difference: degrees between face and donor beyond which a frame cannot be swapped well.
            light: how far the donor's skin takes over the target's light and tone, 0..1.
        """
        self.shape, self.max_yaw_difference, self.light = shape, max_yaw_difference, light

    def __call__(self, frames_FHWC: np.ndarray, faces: Faces, donor: Donor, seed: int = 0) -> np.ndarray:
        """Frames (F, H, W, 3) uint8 with the donor's face; frames without a face stay as they are.

        Args:
            frames_FHWC: (F, H, W, 3) uint8 RGB.
            faces: the track of the face, in these frames.
            donor: whose face to use.
            seed: not used; nothing here is random.

        Raises:
            Refusal: reason `yaw`; the face is turned too far from the donor's view in too many frames.
        """
        self._check_yaw(faces, donor)
        landmarks_FNC = without_jitter(fill_gaps(faces.landmarks))
        clip = self._prepare(frames_FHWC, landmarks_FNC, donor)
        result = frames_FHWC.copy()
        for index in np.flatnonzero(np.isfinite(faces.landmarks).all(axis=(1, 2))):
            self._swap_frame(result[index], landmarks_FNC[index], clip)
        return result

    def _check_yaw(self, faces: Faces, donor: Donor) -> None:
        donor_yaw = pose(donor.landmarks)[0]
        difference = np.abs(faces.pose[np.isfinite(faces.pose[:, 0]), 0] - donor_yaw)
        share = float((difference > self.max_yaw_difference).mean()) if len(difference) else 1.0
        if share > _MAX_TURNED:
            raise Refusal(
                "yaw",
                f"the head is turned more than {self.max_yaw_difference:g} degrees from the donor's view in "
                f"{share:.0%} of the frames (allowed: {_MAX_TURNED:.0%})",
                "choose a donor seen from that side, or raise swap.max_yaw_difference",
            )

    def _prepare(self, frames_FHWC: np.ndarray, landmarks_FNC: np.ndarray, donor: Donor) -> _Clip:
        mean = mean_shape(landmarks_FNC)
        size = size_of(mean)
        image, landmarks = colour.shrunk(donor.image, donor.landmarks, size / size_of(donor.landmarks))
        samples = np.linspace(0, len(frames_FHWC) - 1, min(8, len(frames_FHWC))).astype(int)
        usable = colour.usable_skin(image, landmarks)
        tone = colour.mean_tone([frames_FHWC[i] for i in samples], landmarks_FNC[samples])
        image = colour.with_tone(image, landmarks, tone)
        image = colour.with_sharpness(
            image, landmarks, [frames_FHWC[i] for i in samples], landmarks_FNC[samples]
        )
        return _Clip(
            np.dstack([image, usable]), landmarks, mean, identity_moves(mean, landmarks, self.shape), size
        )

    def _swap_frame(self, frame_HWC: np.ndarray, target_NC: np.ndarray, clip: _Clip) -> None:
        """Swap one frame in place."""
        moved_NC = target_NC + Similarity.between(clip.mean, target_NC).turn(clip.moves).astype(np.float32)
        x0, y0, x1, y1 = _window(np.vstack([target_NC, moved_NC]), _MARGIN * clip.size, frame_HWC.shape[:2])
        if x1 - x0 < 8 or y1 - y0 < 8:
            return
        corner = np.array([x0, y0, 0], np.float32)
        target_NC, moved_NC, window = target_NC - corner, moved_NC - corner, frame_HWC[y0:y1, x0:x1]
        height, width = window.shape[:2]

        triangle = warp.draw_triangles(moved_NC, _FILLED, warp.grid_size(height, width))
        onto_donor, onto_target, density = self._maps(triangle, moved_NC, target_NC, clip)
        skin = warp.sample(clip.skin, warp.to_pixels(onto_donor, height, width))
        base = warp.sample(window, warp.to_pixels(onto_target, height, width))
        donor_skin, usable = np.ascontiguousarray(skin[..., :3]), skin[..., 3]
        lit = colour.relit(donor_skin, usable, base, moved_NC, clip.size, self.light)
        alpha = self._alpha(triangle >= 0, density, moved_NC, clip.size, (height, width))
        alpha *= usable * np.float32(1 / 255)
        frame_HWC[y0:y1, x0:x1] = cv2.blendLinear(lit, base, alpha, 1 - alpha)

    @staticmethod
    def _maps(
        triangle: np.ndarray, moved_NC: np.ndarray, target_NC: np.ndarray, clip: _Clip
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Maps on a grid: from result pixels to donor pixels, to target pixels, and donor pixels per result pixel."""
        inside = triangle >= 0
        here = warp.nodes(triangle.shape)
        affines = np.concatenate(
            [
                warp.triangle_affines(moved_NC, clip.landmarks, _FILLED),
                warp.triangle_affines(moved_NC, target_NC, _FILLED),
            ],
            axis=2,
        )[np.maximum(triangle, 0)]
        source = here[..., :1] * affines[..., 0, :] + here[..., 1:] * affines[..., 1, :] + affines[..., 2, :]
        bend = warp.spread_outwards(source[..., 2:] - here, inside, _REACH * clip.size / warp.STEP)
        onto_donor = np.where(inside[..., None], source[..., :2], np.float32(-1))
        density = np.abs(affines[..., 0, 0] * affines[..., 1, 1] - affines[..., 0, 1] * affines[..., 1, 0])
        return onto_donor, here + bend, density / np.median(density[inside])

    @staticmethod
    def _alpha(
        inside: np.ndarray, density: np.ndarray, moved_NC: np.ndarray, size: float, shape: tuple[int, int]
    ) -> np.ndarray:
        """Share of donor skin at each pixel, (H, W) float32: the face without eyes and inside of the mouth.

        Skin that the donor's picture shows at a steep angle (low `density`) is left out, except around the features.
        """
        rim = max(1, int(_RIM * size / warp.STEP))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
        stretched = (density < _MIN_DENSITY) & (
            regions.fill(regions.inner_face(moved_NC), inside.shape, warp.STEP) == 0
        )
        face = regions.fill([regions.lower_face(moved_NC)], inside.shape, warp.STEP) * (inside & ~stretched)
        face = cv2.morphologyEx(face, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        face = cv2.erode(face, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        soft = cv2.GaussianBlur(face.astype(np.float32) / 255, (0, 0), 0.75 * rim) * inside
        holes = regions.fill([moved_NC[ring, :2] for ring in regions.OPENINGS], shape)
        holes = cv2.GaussianBlur(holes, (0, 0), max(0.8, 0.006 * size))
        return warp.to_pixels(soft, *shape) * (1 - holes * np.float32(1 / 255))


def _window(points_NC: np.ndarray, margin: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Box around points with a margin on all sides, clipped to a picture of (height, width)."""
    low, high = points_NC[:, :2].min(axis=0) - margin, points_NC[:, :2].max(axis=0) + margin
    limit = np.array(size[::-1])
    (x0, y0), (x1, y1) = (
        np.clip(np.floor(low), 0, limit).astype(int),
        np.clip(np.ceil(high) + 1, 0, limit).astype(int),
    )
    return int(x0), int(y0), int(x1), int(y1)
