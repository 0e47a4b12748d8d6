"""Cases of kind `h`: the pictures the model takes, made by the product with the preset `published`."""

from __future__ import annotations

import re

import cv2
import numpy as np
import torch
from torch import Tensor

from datagen.common.errors import Refusal
from datagen.driving.augment import Augmentation
from datagen.driving.mask import grey, mask_driving
from datagen.imaging.crop import ClipCrop, largest_crop
from trainer.animate.preprocess import PRESETS, Framing, crop_frames, driving_frames, frame_face
from trainer.parity.case import Case, CaseError
from trainer.parity.models import Models

_PUBLISHED = PRESETS["published"]
_SIZE_TOLERANCE, _PLACE_TOLERANCE = 3.0, 1.5  # pixels
_AUGMENTATION = re.compile(r"aspect_ratio=([\d.]+), (?:affine\.)?scale=([\d.]+)")
_DETECTIONS = re.compile(r"rects? ((?:\d+(?:, | and )?)+)")


def augmentations(case: Case, models: Models) -> None:
    """The size and the place of an augmented picture.

    Its values are not compared: the original scales by nearest neighbour, the product bilinearly.
    """
    del models
    numbered = {entry["i"]: (entry["aspect_ratio"], entry["scale"]) for entry in case.scalar("cases")}
    square, oblong = _frames(case, "img_u8"), _frames(case, "img_nonsquare_u8")
    for name in case.tensors:
        kind, _, index = name.replace(".", "_").rpartition("_")
        if index.isdigit():
            aspect, scale = numbered[int(index)]
            if kind == "resize_only":
                scale = 1.0
            elif kind == "affine_only":
                aspect = 1.0
            _check_place(case, name, square, Augmentation(scale, aspect))
    stated = _AUGMENTATION.search(case.info["tensors"]["out_nonsquare"]["meaning"])
    if stated is None:
        raise CaseError("out_nonsquare does not state its aspect_ratio and scale")
    _check_place(case, "out_nonsquare", oblong, Augmentation(float(stated[2]), float(stated[1])))


def _check_place(case: Case, name: str, frames_FHW3: np.ndarray, augmentation: Augmentation) -> None:
    """Compare size and centre of what is not black, along both axes."""
    boxes_F4 = np.zeros((len(frames_FHW3), 4), np.float32)
    # Black pixels inside the picture must count as picture.
    ours_FHW3, _ = augmentation.apply(frames_FHW3.astype(np.float32) + 1, boxes_F4)
    theirs_FHW3 = case.input(name).permute(0, 2, 3, 1).numpy()
    for axis, direction in ((1, "height"), (2, "width")):
        ours, theirs = (
            np.flatnonzero((frames > 1).any(axis=tuple({0, 1, 2, 3} - {axis})))
            for frames in (ours_FHW3, theirs_FHW3)
        )
        case.close(f"{name} {direction}", len(ours), len(theirs), _SIZE_TOLERANCE)
        if ours_FHW3.shape[axis] == theirs_FHW3.shape[axis]:
            case.close(f"{name} centre of {direction}", ours.mean(), theirs.mean(), _PLACE_TOLERANCE)


def crops(case: Case, models: Models) -> None:
    """The square around the faces, the visible face region, grey."""
    del models
    frames_FHW3 = _frames(case, "video_u8")
    ids, rectangles_N4 = case.input("image_ids").tolist(), case.input("rects").numpy()

    framing = _frame_face(frames_FHW3, ids, rectangles_N4)
    _check_crop(case, "crop_out", frames_FHW3, framing.crop, "crop_bbox_top_bottom_left_right")
    _check_smallest_face(case, "crop_min_face_size", framing)

    kept = _stated_detections(case, len(ids))
    gaps = _frame_face(frames_FHW3, [ids[i] for i in kept], rectangles_N4[kept])
    _check_crop(case, "crop_out_missing_frames", frames_FHW3, gaps.crop, "gap_bbox")
    _check_smallest_face(case, "gap_min_face_size", gaps)
    refused = False
    try:
        _frame_face(frames_FHW3, [i + 1 for i in ids], rectangles_N4)
    except Refusal:
        refused = True
    case.equal("first_frame_missing_returns", [refused] * len(case.scalar("first_frame_missing_returns")))

    height, width = frames_FHW3.shape[1:3]
    _check_crop(case, "center_crop_out", frames_FHW3, largest_crop(width, height), "center_crop_bbox")

    # The product makes grey frames at the size of the crop. The stored ones are in colour, some resized afterwards.
    masked_FHW = mask_driving(frames_FHW3.astype(np.float32), framing.boxes_F4, _PUBLISHED.region)
    size = tuple(reversed(case.tensors["move_face_out"].shape[-2:]))
    resized_FHW = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR) for frame in masked_FHW])
    case.compare("move_face_out in grey", torch.from_numpy(resized_FHW), _grey(case, "move_face_out"))

    square_FHW3, boxes_F4 = _frames(case, "sq_u8"), case.input("sq_rects").numpy()
    side = square_FHW3.shape[1]
    driving_FHW = torch.from_numpy(
        driving_frames(square_FHW3, boxes_F4, ClipCrop(0, 0, side), side, _PUBLISHED)
    )
    case.compare("sq_move_face_out in grey", driving_FHW, _grey(case, "sq_move_face_out"))
    case.check("sq_gray", driving_FHW.unsqueeze(1).expand(-1, 3, -1, -1))


def _frame_face(frames_FHW3: np.ndarray, ids: list[int], rectangles_N4: np.ndarray) -> Framing:
    """The framing of stored detections, of which the first in a frame counts."""
    boxes_F4 = np.full((len(frames_FHW3), 4), np.nan, np.float32)
    for frame, rectangle in reversed(list(zip(ids, rectangles_N4, strict=True))):
        if frame < len(boxes_F4):
            boxes_F4[frame] = rectangle
    return frame_face(boxes_F4, frames_FHW3.shape[2], frames_FHW3.shape[1], _PUBLISHED)


def _check_crop(case: Case, name: str, frames_FHW3: np.ndarray, crop: ClipCrop, box: str) -> None:
    case.equal(box, [crop.y, crop.y + crop.size, crop.x, crop.x + crop.size])
    cropped_FSS3 = crop_frames(frames_FHW3, crop, case.tensors[name].shape[-1], _PUBLISHED)
    case.check(name, torch.from_numpy(cropped_FSS3).permute(0, 3, 1, 2))


def _check_smallest_face(case: Case, name: str, framing: Framing) -> None:
    """Compare the smallest face; the original states half its share of the square."""
    case.close(name, framing.smallest_face / 2, case.scalar(name), 1e-6)


def _frames(case: Case, name: str) -> np.ndarray:
    """Stored frames (F 3 H W) uint8 as the product takes them, (F, H, W, 3)."""
    return np.ascontiguousarray(case.input(name).permute(0, 2, 3, 1).numpy())


def _grey(case: Case, name: str) -> Tensor:
    return torch.from_numpy(grey(case.input(name).permute(0, 2, 3, 1).numpy()))


def _stated_detections(case: Case, count: int) -> list[int]:
    stated = _DETECTIONS.search(case.info["tensors"]["crop_out_missing_frames"]["meaning"])
    return [int(i) for i in re.findall(r"\d+", stated[1])] if stated else [0, count - 1]
