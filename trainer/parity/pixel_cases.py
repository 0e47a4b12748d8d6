"""Cases of kind `h`: the published pixel operations."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import Tensor

from trainer.parity import pixels
from trainer.parity.case import Case, CaseError
from trainer.parity.models import Models

_WARP = re.compile(r"aspect_ratio=([\d.]+), (?:affine\.)?scale=([\d.]+)")
_DETECTIONS = re.compile(r"rects? ((?:\d+(?:, | and )?)+)")


def warps(case: Case, models: Models) -> None:
    """Aspect ratio and scale, together and each alone."""
    del models
    numbered = {entry["i"]: (entry["aspect_ratio"], entry["scale"]) for entry in case.scalar("cases")}
    image = case.input("img_u8").float()
    for name in case.tensors:
        kind, _, index = name.replace(".", "_").rpartition("_")
        if not index.isdigit():
            continue
        ratio, scale = numbered[int(index)]
        if kind == "out":
            case.check(name, pixels.warp(image, ratio, scale), nearest=True)
        elif kind == "resize_only":
            case.check(name, pixels.squeeze_aspect(image, ratio))
        elif kind == "affine_only":
            case.check(name, pixels.scale_about_centre(image, scale), nearest=True)
    if case.has("out_nonsquare"):
        stated = _WARP.search(case.info["tensors"]["out_nonsquare"]["meaning"])
        if stated is None:
            raise CaseError("out_nonsquare does not state its aspect_ratio and scale")
        image = case.input("img_nonsquare_u8").float()
        case.check("out_nonsquare", pixels.warp(image, float(stated[1]), float(stated[2])), nearest=True)


def crops(case: Case, models: Models) -> None:
    """Square crops around faces, face masks, grey."""
    del models
    video = case.input("video_u8").float()
    frames, _, height, width = video.shape
    ids, rectangles = case.input("image_ids").tolist(), case.input("rects").numpy()

    every = _rectangles(frames, ids, rectangles)
    crop = pixels.crop_faces(height, width, every)
    case.check("crop_out", crop.apply(video, _size(case, "crop_out")))
    case.equal("crop_bbox_top_bottom_left_right", crop.box)
    case.close("crop_min_face_size", crop.min_face_size, case.scalar("crop_min_face_size"), 1e-6)

    kept = _stated_detections(case, len(ids))
    gaps = _rectangles(frames, [ids[i] for i in kept], rectangles[kept])
    crop = pixels.crop_faces(height, width, gaps)
    case.check("crop_out_missing_frames", crop.apply(video, _size(case, "crop_out_missing_frames")))
    case.equal("gap_bbox", crop.box)
    case.close("gap_min_face_size", crop.min_face_size, case.scalar("gap_min_face_size"), 1e-6)
    late = pixels.rectangles_by_frame(frames, [i + 1 for i in ids], rectangles)
    case.equal(
        "first_frame_missing_returns", [late is None] * len(case.scalar("first_frame_missing_returns"))
    )

    crop = pixels.crop_faces(height, width)
    case.check("center_crop_out", crop.apply(video, _size(case, "center_crop_out")))
    case.equal("center_crop_bbox", crop.box)

    case.check("move_face_out", pixels.keep_faces(video, every, _size(case, "move_face_out")))
    square = case.input("sq_u8").float()
    kept_square = pixels.keep_faces(
        square, list(case.input("sq_rects").numpy()), _size(case, "sq_move_face_out")
    )
    case.check("sq_move_face_out", kept_square)
    case.check("sq_gray", pixels.grey(kept_square))


def random_parameters(case: Case, models: Models) -> None:
    """The draw of a clip's augmentation from a seed."""
    del models
    for seed, stored in case.scalar("params").items():
        width, height = stored["perspective"]["startpoints"][2]
        got, want = _numbers(pixels.random_warp(int(seed), width, height)), _numbers(stored)
        case.compare(f"params.{seed}", torch.tensor(got), torch.tensor(want))


def _numbers(value: object) -> list[float]:
    """All numbers of nested mappings and lists, keys in order."""
    if isinstance(value, dict):
        return [number for key in sorted(value) for number in _numbers(value[key])]
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    if isinstance(value, int | float):
        return [float(value)]
    raise CaseError(f"{value!r} is no number")


def _rectangles(frames: int, ids: list[int], rectangles: np.ndarray) -> list[np.ndarray]:
    found = pixels.rectangles_by_frame(frames, ids, rectangles)
    if found is None:
        raise CaseError("the first frame has no rectangle")
    return found


def _stated_detections(case: Case, count: int) -> list[int]:
    stated = _DETECTIONS.search(case.info["tensors"]["crop_out_missing_frames"]["meaning"])
    return [int(i) for i in re.findall(r"\d+", stated[1])] if stated else [0, count - 1]


def _size(case: Case, name: str) -> tuple[int, int]:
    tensor: Tensor = case.tensors[name]
    return tensor.shape[-2], tensor.shape[-1]
