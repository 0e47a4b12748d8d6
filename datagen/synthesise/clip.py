"""Make one clip: decode its crop, swap, stylise, augment, mask, encode. All streams have the same frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from datagen.common.errors import Refusal
from datagen.donors.pool import Pool
from datagen.faces import FaceAnalyser, Faces
from datagen.faces.boxes import iou
from datagen.faces.foreground import foreground
from datagen.faces.smoothing import fill_gaps
from datagen.imaging.crop import ClipCrop
from datagen.media import VideoReader, again_if_killed
from datagen.output.schema import Row
from datagen.recipe import Recipe
from datagen.synthesise.backends import Backends
from datagen.synthesise.encoded import encode_stream, encode_streams
from datagen.synthesise.made_clip import MadeClip
from datagen.synthesise.styled import stylise
from datagen.synthesise.swapped import swap


def make_clip(
    row: Row,
    source: Path,
    recipe: Recipe,
    backends: Backends,
    pool: Pool,
    withdrawn: frozenset[str],
    scratch: Path,
) -> MadeClip:
    """Make all streams of a clip that the recipe asks for.

    Args:
        row: row of the clip table, with the frozen columns of its wave.
        source: its source video, a local file.
        recipe: the recipe.
        backends: models and styles.
        pool: donors of its wave.
        withdrawn: sha256 of withdrawn portraits.
        scratch: folder for encoded files, deleted by the caller.

    Raises:
        Refusal: the whole clip cannot be used. If only a swap or style is refused, its streams are left out.
    """
    made = MadeClip()
    with made.timed("decode"):
        frames = read_crop(row, source, recipe)
    with made.timed("track"):
        faces = track_face(frames, row, backends.analyser)
    streams = {"video": frames}
    swapped = swap(frames, made, row, faces, recipe, backends, pool)
    if swapped is not None:
        streams["swapped"] = swapped
    styled = stylise(frames, made, row, faces, recipe, backends, pool, withdrawn)
    if styled is not None:
        streams["styled"] = styled
    encode_streams(streams, made, row, faces, recipe, scratch)
    if recipe.mask.foreground:
        with made.timed("mask"):
            person = foreground(frames, backends.analyser)
        with made.timed("encode"):
            made.files["mask.mp4"] = encode_stream(person, row, recipe, scratch / "mask.mp4", kind="mask")
    made.files["face.safetensors"] = face_tensors(faces)
    made.columns["face_boxes"] = np.round(faces.box).astype(np.int16).tolist()
    return made


def read_crop(row: Row, source: Path, recipe: Recipe) -> np.ndarray:
    """Frames of the clip, (F, S, S, 3) uint8, cropped and scaled; only a few source frames are in memory at once."""
    crop = ClipCrop(**row["crop"])
    wanted = row["source_frames"]
    frames = np.empty((len(wanted), row["size"], row["size"], 3), np.uint8)

    def read() -> None:
        with VideoReader(source, ffmpeg=recipe.encode.ffmpeg) as reader:
            if wanted[-1] >= len(reader):
                raise Refusal(
                    "damaged", "the source is shorter than when it was curated", "restore it and retry"
                )
            batches = reader.stream(wanted, reader.handful)
            for target, frame in zip(frames, (frame for batch in batches for frame in batch), strict=True):
                target[...] = crop.cut(frame, row["size"])

    again_if_killed(read)
    return frames


def track_face(frames: np.ndarray, row: Row, analyser: FaceAnalyser) -> Faces:
    """Track the curated face again in the cropped frames and fill short gaps.

    Raises:
        Refusal: the face is lost in a tenth of the frames or more.
    """
    known = np.asarray(row["face_boxes"][0], np.float32)
    first = max(analyser.detect(frames[0]), key=lambda face: iou(face.box, known), default=None)
    if first is not None and iou(first.box, known) < 0.2:
        first = None
    faces = analyser.track(frames, first)
    lost = float((faces.presence == 0).mean())
    if lost >= 0.1:
        raise Refusal("no_face", f"the face is lost in {lost:.0%} of the clip's frames")
    if lost:
        faces = replace(
            faces,
            landmarks=fill_gaps(faces.landmarks),
            irises=fill_gaps(faces.irises),
            pose=fill_gaps(faces.pose),
            box=fill_gaps(faces.box),
        )
    return faces


def face_tensors(faces: Faces) -> bytes:
    """Contents of `.face.safetensors`, float16, per frame: landmarks, irises and box in crop pixels, pose in degrees,
    presence.
    """
    arrays = {
        "landmarks": faces.landmarks,
        "irises": faces.irises,
        "box": faces.box,
        "pose": faces.pose,
        "presence": faces.presence,
    }
    data: bytes = save({name: np.ascontiguousarray(array, np.float16) for name, array in arrays.items()})
    return data
