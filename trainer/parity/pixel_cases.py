"""Cases of kinds `h` and `p`: from pixels to the inputs of the model, by the code that training and inference run."""

from __future__ import annotations

import re
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from datagen.common.errors import Refusal
from datagen.driving.augment import Augmentation
from datagen.driving.mask import grey, mask_driving
from datagen.imaging.crop import ClipCrop, largest_crop
from trainer.animate.preprocess import PRESETS, Framing, crop_frames, driving_frames, frame_face
from trainer.data.pixels import clip_image
from trainer.diffusion.draws import offset_noise
from trainer.diffusion.schedule import TRAIN_TIMESTEPS, TrainingSchedule
from trainer.latents.encoders import mean_latents, sample_latents
from trainer.model.config import PUBLISHED_DIFFUSION
from trainer.model.megactor import Conditions
from trainer.parity.case import Case, CaseError, video
from trainer.parity.models import Models

_PUBLISHED = PRESETS["published"]
_SIZE_TOLERANCE, _PLACE_TOLERANCE = 3.0, 1.5  # pixels
_AUGMENTATION = re.compile(r"aspect_ratio=([\d.]+), (?:affine\.)?scale=([\d.]+)")
_DETECTIONS = re.compile(r"rects? ((?:\d+(?:, | and )?)+)")


def augmentations(case: Case, models: Models) -> None:
    """`h`: size and place of an augmented picture.

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
    case.notes.append("size and place in pixels, values not compared")


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
    """`h`: the square around the faces, the visible face region, grey."""
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


@torch.no_grad()
def preprocess(case: Case, models: Models) -> None:
    """`p`: from pixels to the inputs and targets of training."""
    timesteps = case.input("out.timesteps")
    if not ((timesteps >= 0) & (timesteps < TRAIN_TIMESTEPS)).all():
        raise CaseError(f"out.timesteps {timesteps.tolist()} leave 0..{TRAIN_TIMESTEPS - 1}")
    encoders, scale = models.encoders, models.scaling_factor
    target_BFCHW, reference_B3HW = case.input("in.video_u8"), case.input("in.reference_u8")
    moments = encoders.image_moments(target_BFCHW.flatten(0, 1)).unflatten(0, target_BFCHW.shape[:2])
    eps = case.input("rand.vae_eps_video").unflatten(0, target_BFCHW.shape[:2])
    latents = sample_latents(moments, eps, scale)
    # In the stored case the image whose latents are concatenated is not the reference.
    image_moments = encoders.image_moments(case.input("in.concat_poses_u8")[:, 0])
    clip_images = _clip_images(case)
    conditions = Conditions.from_pixels(
        case.input("in.swapped_u8"),
        reference_B3HW,
        case.input("in.concat_background"),
        sample_latents(image_moments, case.input("rand.vae_eps_ref"), scale),
        mean_latents(image_moments, scale),
        encoders.image_tokens(clip_images),
    )

    offset_BC = case.input("rand.noise_offset")[:, :, 0, 0, 0]
    noise = offset_noise(video(case.input("rand.noise_main")), offset_BC, PUBLISHED_DIFFUSION.noise_offset)
    schedule = TrainingSchedule(PUBLISHED_DIFFUSION)
    noisy = schedule.add_noise(latents, noise, timesteps)
    fixed_BCHW = torch.cat([conditions.reference_sample_BCHW, conditions.background_B1HW], dim=1)
    fixed_BFCHW = fixed_BCHW.unsqueeze(1).expand(-1, noisy.shape[1], -1, -1, -1)
    case.check("out.noisy_latents", video(torch.cat([noisy, fixed_BFCHW], dim=2)))
    case.check("out.target_noise", video(schedule.target(latents, noise, timesteps)))
    case.check("out.image_tokens", conditions.tokens_BTD)
    case.check("out.ref_img_conditions", conditions.reference_B3HW)
    case.check("out.motion_sequence", conditions.driving_BF3HW.permute(0, 1, 3, 4, 2))

    # The inputs of the networks: identity functions take the place of the networks.
    inputs = replace(encoders, moments=lambda images: images, tokens=lambda images: images)
    case.check("out.source_image", inputs.image_moments(reference_B3HW))
    case.check("clip_pixel_values", inputs.image_tokens(clip_images))


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


def _clip_images(case: Case) -> Tensor:
    """The stored images without a person (B 1 3 H W) at CLIP's size, uint8 (B 3 S S)."""
    side = case.scalar("clip_processor")["size"]["shortest_edge"]
    images_BHW3 = case.input("in.clip_conditions_u8")[:, 0].permute(0, 2, 3, 1).numpy()
    background = np.ones(images_BHW3.shape[1:3], np.uint8)
    resized = np.stack([clip_image(image, background, side) for image in images_BHW3])
    return torch.from_numpy(resized).permute(0, 3, 1, 2)
