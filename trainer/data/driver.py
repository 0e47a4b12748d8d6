"""The driving frames of a sample: which kind, and how they are made or read.

Shapes: F frames, H height, W width, N landmarks, K kinds.
"""

from __future__ import annotations

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from datagen.driving.augment import Augmentation
from datagen.driving.mask import mask_driving
from trainer.data.clips import Clips
from trainer.data.config import KINDS, STREAM_OF, DataConfig, Kind
from trainer.data.errors import DamagedFileError


def stream_file(kind: Kind, config: DataConfig) -> str:
    """File of a clip from which a driver of this kind is read."""
    prefix = "driving_" if config.driving == "baked" else ""
    return f"{prefix}{STREAM_OF[kind]}.mp4"


def choose_kind(rng: np.random.Generator, clips: Clips, number: int, config: DataConfig) -> Kind:
    """Draw a kind by the configured rates, among the kinds that the clip has."""
    chance = rng.random()
    present = [kind for kind in KINDS if clips.has(number, stream_file(kind, config))]
    rates = np.array([config.drivers.rate(kind) for kind in present], float)
    if not rates.any():
        return present[0]
    return present[int(np.searchsorted(np.cumsum(rates) / rates.sum(), chance, side="right"))]


def draw_augmentation(
    rng: np.random.Generator, clips: Clips, number: int, kind: Kind, config: DataConfig
) -> Augmentation:
    """Scale and aspect of the driver: newly drawn, or those that the baked stream was made with."""
    drawn = Augmentation.draw(rng, config.warp_rate, config.warp_low, config.warp_high)
    if config.driving == "online":
        return drawn
    scale, aspect = clips.augmentation_N32[number, KINDS.index(kind)]
    return Augmentation(float(scale), float(aspect))


def online_driver(
    frames_FHW3: np.ndarray,
    indices_F: np.ndarray,
    face: memoryview,
    augmentation: Augmentation,
    config: DataConfig,
) -> np.ndarray:
    """(F, H, W) uint8: the pipeline's augmentation and mask on raw frames.

    Args:
        frames_FHW3: frames of the stream.
        indices_F: numbers of these frames in the clip.
        face: the clip's `face.safetensors`.
        augmentation: scale and aspect.
        config: config of a sample; it holds the mask.

    Raises:
        DamagedFileError: the face file cannot be used.
    """
    try:
        tensors = load(bytes(face))
        boxes_F4 = tensors["box"][indices_F].astype(np.float32)
        landmarks_FNC = tensors["landmarks"][indices_F].astype(np.float32) if config.mask == "hull" else None
    except (SafetensorError, KeyError, IndexError) as error:
        raise DamagedFileError(f"face.safetensors: {error}") from error
    size = (frames_FHW3.shape[1], frames_FHW3.shape[2])
    frames_FHW3, boxes_F4 = augmentation.apply(frames_FHW3, boxes_F4)
    if landmarks_FNC is not None:
        landmarks_FNC = augmentation.points(landmarks_FNC, size)
    return mask_driving(frames_FHW3, boxes_F4, config.mask, landmarks_FNC)
