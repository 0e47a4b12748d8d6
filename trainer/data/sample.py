"""One training sample from one clip.

Shapes: F frames, H height, W width, S side of CLIP's image, C h w moments, T tokens, D token width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datagen.common.errors import UserError
from datagen.common.seeding import keyed_rng
from trainer.data.clips import Clips
from trainer.data.config import KINDS, DataConfig
from trainer.data.driver import choose_kind, draw_augmentation, online_driver, stream_file
from trainer.data.errors import BadClipError, DamagedFileError, MissingFileError, StreamError
from trainer.data.pixels import background_of, clip_image
from trainer.data.video import Frames, decode
from trainer.data.window import choose_window, reference_candidates, stride_of


@dataclass(frozen=True)
class Skipped:
    """A clip that was due at a slot and could not be used."""

    clip_id: str
    reason: str


@dataclass(frozen=True)
class Sample:
    """The sample of one slot. Its optional arrays depend on whether latents are precomputed.

    Attributes:
        slot: number in the global order.
        clip_id: the clip it is made from.
        kind: number of the driver's kind in `KINDS`.
        indices: (F,) frame numbers of both target and driver.
        reference_index: frame number of the reference.
        fps: frames per second of the clip.
        scale, aspect: augmentation of the driver, relative to its stream.
        driver: (F, H, W) uint8, the face in grey on black.
        reference: (H, W, 3) uint8.
        background: (H, W) uint8, 1 where the reference shows background.
        target: (F, H, W, 3) uint8; None where its moments are stored.
        clip_image: (S, S, 3) uint8, the reference without the person at CLIP's size; None where its tokens are
            stored.
        target_moments: (F, C, h, w).
        reference_moments: (C, h, w).
        tokens: (T, D).
        skipped: clips that were due here and could not be used.
    """

    slot: int
    clip_id: str
    kind: int
    indices: np.ndarray
    reference_index: int
    fps: float
    scale: float
    aspect: float
    driver: np.ndarray
    reference: np.ndarray
    background: np.ndarray
    target: np.ndarray | None = None
    clip_image: np.ndarray | None = None
    target_moments: np.ndarray | None = None
    reference_moments: np.ndarray | None = None
    tokens: np.ndarray | None = None
    skipped: tuple[Skipped, ...] = ()


def make_sample(clips: Clips, number: int, config: DataConfig, *, seed: int, epoch: int, slot: int) -> Sample:
    """The sample of a clip at a slot: the same on every machine, worker and rank.

    Only the needed frames, and those they depend on, are decoded; a stream that is needed twice is decoded once.

    Raises:
        BadClipError: the clip cannot be used.
    """
    try:
        return _make(clips, number, config, seed, epoch, slot)
    except (StreamError, MissingFileError, DamagedFileError, UserError, ValueError) as error:
        raise BadClipError(str(error)) from error


def _make(clips: Clips, number: int, config: DataConfig, seed: int, epoch: int, slot: int) -> Sample:
    clip_id, latents = clips.clip_id(number), clips.latents
    clip_frames, fps = int(clips.frames_N[number]), float(clips.fps_N[number])
    rng = keyed_rng(seed, epoch, slot, clip_id)
    if latents is None:
        candidates = reference_candidates(clip_id, clip_frames, config.references)
    else:
        candidates = [int(frame) for frame in latents.references_NK[number] if frame >= 0]
    stride = stride_of(fps, config.frame_rate, clip_frames, config.frames)
    window = choose_window(rng, clip_frames, stride, config.frames, candidates)
    kind = choose_kind(rng, clips, number, config)
    augmentation = draw_augmentation(rng, clips, number, kind, config)

    driver_file = stream_file(kind, config)
    online = config.driving == "online"
    wanted = {"video.mp4": [window.reference], "mask.mp4": [window.reference]}
    if latents is None:
        wanted["video.mp4"] = [*wanted["video.mp4"], *window.indices_F]
    wanted[driver_file] = [*wanted.get(driver_file, []), *window.indices_F]
    files = clips.read(number, [*wanted, *(["face.safetensors"] if online else [])], check=config.check_bytes)
    streams = {name: _stream(name, files[name], wanted[name], clip_frames, clips.size) for name in wanted}

    driver = streams[driver_file].at(window.indices_F)
    target = streams["video.mp4"].at(window.indices_F) if latents is None else None
    shown = window.indices_F if target is None else target.numbers_N
    # Synthetic pairs rely on this: driver and target show the same motion in the same frame.
    assert np.array_equal(driver.numbers_N, shown), f"{clip_id}: driver and target differ in time"
    driver_pixels = driver.pixels
    if online:
        driver_pixels = online_driver(
            driver.pixels, driver.numbers_N, files["face.safetensors"], augmentation, config
        )
    at_reference = np.array([window.reference])
    reference = streams["video.mp4"].at(at_reference).pixels[0]
    background = background_of(streams["mask.mp4"].pixels[0])
    stored = None if latents is None else latents.reference(number, window.candidate)
    return Sample(
        slot=slot,
        clip_id=clip_id,
        kind=KINDS.index(kind),
        indices=window.indices_F,
        reference_index=window.reference,
        fps=fps,
        scale=augmentation.scale,
        aspect=augmentation.aspect,
        driver=driver_pixels,
        reference=reference,
        background=background,
        target=None if target is None else target.pixels,
        clip_image=None if stored is not None else clip_image(reference, background, config.clip_size),
        target_moments=None if latents is None else latents.moments(number, window.indices_F),
        reference_moments=None if stored is None else stored.moments,
        tokens=None if stored is None else stored.tokens,
    )


def _stream(name: str, data: memoryview, indices: list[int], clip_frames: int, size: int) -> Frames:
    """Decoded frames of one file of a clip."""
    try:
        frames = decode(data, indices, clip_frames, grey=name.startswith(("driving_", "mask")))
    except StreamError as error:
        raise StreamError(f"{name} {error}") from error
    if frames.pixels.shape[1:3] != (size, size):
        raise StreamError(f"{name} has frames of {frames.pixels.shape[1:3]} where the clip has {size} pixels")
    return frames
