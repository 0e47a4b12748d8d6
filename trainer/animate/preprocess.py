"""From the pictures a user gives to the pictures the model takes: crop, face region, background.

The steps are those that make the training data. Two presets set them:

                        default: as our training data           published: as the released model was given
    crop                `crop_scale` times the median face       the largest square of the frame, around the faces
    frame without face  box interpolated between neighbours      box of the frame before; the first needs a face
    resizing            area average or cubic, in uint8          bilinear, in float32
    face region         box squared at its longer side           box squared at its width

Shapes: F frames, H W size of a frame, S side of the crop, N landmarks. Boxes are x0, y0, x1, y1 in pixels of a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from datagen.common.errors import Refusal
from datagen.driving.mask import Region, mask_driving
from datagen.faces.foreground import Segmenter, foreground
from datagen.faces.smoothing import fill_gaps
from datagen.imaging.crop import ClipCrop, choose_crop, largest_crop
from trainer.data.pixels import background_of, clip_image


@dataclass(frozen=True)
class PreprocessConfig:
    """How pictures are prepared; the defaults are those of our training data.

    Attributes:
        crop: `face` cuts a square of `crop_scale` times the face, as curation does; `largest` the largest square.
        crop_scale: side of the square over the side of the median face box, `curate.crop_scale` of the data set.
        gaps: box of a frame without a face: `interpolate` between its neighbours or `hold` the one before.
        bilinear: resize bilinearly in float32; else as `ClipCrop.cut` does by itself, in uint8.
        region: what stays visible of a driving frame, as `mask_driving` names it.
    """

    crop: Literal["face", "largest"] = "face"
    crop_scale: float = 2.0
    gaps: Literal["interpolate", "hold"] = "interpolate"
    bilinear: bool = False
    region: Region = "box"


PRESETS: dict[str, PreprocessConfig] = {
    "default": PreprocessConfig(),
    "published": PreprocessConfig(crop="largest", gaps="hold", bilinear=True, region="published"),
}


@dataclass(frozen=True)
class Framing:
    """The square that is cut out of a whole video, and the face in each of its frames.

    Attributes:
        crop: the same square for all frames, so that the picture does not shake.
        boxes_F4: float32 face boxes, gaps filled.
    """

    crop: ClipCrop
    boxes_F4: np.ndarray

    @property
    def smallest_face(self) -> float:
        """The smallest face box over the area of the square."""
        width_F, height_F = (self.boxes_F4[:, 2:] - self.boxes_F4[:, :2]).T
        return float((width_F * height_F).min() / self.crop.size**2)


@dataclass(frozen=True)
class ReferencePictures:
    """What the model takes of the reference.

    Attributes:
        image_SS3: uint8.
        background_SS: uint8, 1 on background.
        clip_image: (side, side, 3) uint8, the background alone at the size of CLIP's input.
    """

    image_SS3: np.ndarray
    background_SS: np.ndarray
    clip_image: np.ndarray


def frame_face(boxes_F4: np.ndarray, width: int, height: int, config: PreprocessConfig) -> Framing:
    """Choose the square of a video or, with F = 1, of a picture.

    Args:
        boxes_F4: float32 face boxes; NaN in frames where no face was found.
        width: width of a frame.
        height: height of a frame.
        config: the preset.

    Raises:
        Refusal: no frame has a face or, with `hold`, the first has none.
    """
    found_F = np.isfinite(boxes_F4).all(axis=1)
    if not found_F.any():
        raise Refusal("no_face", "no frame shows a face that could be followed")
    if config.gaps == "interpolate":
        boxes_F4 = fill_gaps(boxes_F4)
    elif not found_F[0]:
        raise Refusal(
            "no_face",
            "frame 0 shows no face, and the published preset takes the box of a frame without face from the one before",
            f"cut the first {int(found_F.argmax())} frames off or use the default preset",
        )
    else:
        boxes_F4 = boxes_F4[np.maximum.accumulate(np.where(found_F, np.arange(len(found_F)), 0))]
    if config.crop == "largest":
        return Framing(largest_crop(width, height, boxes_F4), boxes_F4)
    return Framing(choose_crop(boxes_F4, width, height, config.crop_scale), boxes_F4)


def crop_frames(frames_FHW3: np.ndarray, crop: ClipCrop, side: int, config: PreprocessConfig) -> np.ndarray:
    """(F, S, S, 3): the square of uint8 frames at S = `side`; uint8, or float32 in 0..255 with `bilinear`."""
    if config.bilinear:
        frames_FHW3 = frames_FHW3.astype(np.float32)
    interpolation = cv2.INTER_LINEAR if config.bilinear else None
    return np.stack([crop.cut(frame, side, interpolation) for frame in frames_FHW3])


def driving_frames(
    frames_FHW3: np.ndarray,
    boxes_F4: np.ndarray,
    crop: ClipCrop,
    side: int,
    config: PreprocessConfig,
    landmarks_FN2: np.ndarray | None = None,
) -> np.ndarray:
    """(F, S, S): the face in grey on black, uint8 or float32 as `crop_frames` gives them.

    A long video can be passed in parts, since every frame is made on its own.

    Args:
        frames_FHW3: uint8 frames.
        boxes_F4: face boxes of these frames, as in `frame_face`.
        crop: the video's square.
        side: S.
        config: the preset.
        landmarks_FN2: landmarks in pixels of a frame, needed for the region `hull`.
    """
    if landmarks_FN2 is not None:
        landmarks_FN2 = crop.to_clip(landmarks_FN2, side)
    frames_FSS3 = crop_frames(frames_FHW3, crop, side, config)
    return mask_driving(frames_FSS3, crop.to_clip(boxes_F4, side), config.region, landmarks_FN2)


def reference_pictures(
    picture_HW3: np.ndarray,
    box_4: np.ndarray | None,
    segmenter: Segmenter,
    config: PreprocessConfig,
    *,
    side: int,
    clip_size: int,
) -> ReferencePictures:
    """Cut the reference and split it into person and background.

    Args:
        picture_HW3: uint8.
        box_4: float32 face box; None for a picture that is framed already: its largest square is taken.
        segmenter: finds the person, such as a `FaceAnalyser`.
        config: the preset.
        side: S.
        clip_size: side of CLIP's input.

    Raises:
        Refusal: the box is NaN, since no face was found.
    """
    height, width = picture_HW3.shape[:2]
    crop = largest_crop(width, height)
    if box_4 is not None:
        crop = frame_face(box_4[None], width, height, config).crop
    # The published preprocessing truncates the reference to whole numbers; uint8 is not changed by this.
    image_SS3 = crop_frames(picture_HW3[None], crop, side, config)[0].astype(np.uint8)
    background_SS = background_of(foreground(image_SS3[None], segmenter)[0])
    return ReferencePictures(image_SS3, background_SS, clip_image(image_SS3, background_SS, clip_size))
