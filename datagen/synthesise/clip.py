"""One clip: decode its square, swap, stylise, augment, mask, encode; every stream with the same frames."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from datagen.common.errors import Refusal, UserError
from datagen.common.seeding import keyed_rng, seed_of
from datagen.donors.donor import Donor
from datagen.donors.pool import Pool
from datagen.driving.augment import Augmentation
from datagen.driving.mask import mask_driving
from datagen.faces import FaceAnalyser, Faces
from datagen.faces.boxes import iou
from datagen.faces.foreground import foreground
from datagen.faces.geometry import pose
from datagen.faces.smoothing import fill_gaps
from datagen.imaging.crop import ClipCrop
from datagen.media import FfmpegError, VideoReader, again_if_killed, encode
from datagen.recipe import Recipe
from datagen.synthesise.backends import Backends
from datagen.synthesise.gates import gate_style, gate_swap, identity_columns, motion_columns
from datagen.synthesise.stylise.base import Stylist
from datagen.synthesise.stylise.style import Style
from datagen.synthesise.swap.base import Swapper

Row = dict[str, Any]
MARKS = {
    "swapped": "synthetic: face of another person put on real footage by megactor-datagen",
    "styled": "synthetic: real footage changed in style by megactor-datagen",
}


@dataclass
class MadeClip:
    """Files and index columns of one clip.

    Attributes:
        files: member suffix -> bytes or an encoded file.
        columns: index columns beyond the clip table's.
        left_out: streams that were refused, with why.
        seconds: time per operation.
    """

    files: dict[str, bytes | Path] = field(default_factory=dict)
    columns: Row = field(default_factory=dict)
    left_out: dict[str, Refusal] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, operation: str) -> Iterator[None]:
        """Add the time of the block to an operation."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[operation] = self.seconds.get(operation, 0.0) + time.perf_counter() - started


def make_clip(
    row: Row,
    source: Path,
    recipe: Recipe,
    backends: Backends,
    pool: Pool,
    withdrawn: frozenset[str],
    scratch: Path,
) -> MadeClip:
    """Make every stream the recipe asks for.

    Args:
        row: the clip's row of the clip table, with the columns its wave froze.
        source: its source video, a local file.
        recipe: what to make.
        backends: models and styles.
        pool: donors of its wave.
        withdrawn: sha256 of portraits that may not be used.
        scratch: folder for encoded files, removed by the caller.

    Raises:
        Refusal: the clip as a whole cannot be used. A refused swap or style only leaves out its streams.
    """
    made = MadeClip()
    with made.timed("decode"):
        frames = read_crop(row, source, recipe)
    with made.timed("track"):
        faces = track_face(frames, row, backends.analyser)
    streams = {"video": frames}
    _swap(streams, made, row, faces, recipe, backends, pool)
    _stylise(streams, made, row, faces, recipe, backends, pool, withdrawn)
    _encode_streams(streams, made, row, faces, recipe, scratch)
    if recipe.mask.foreground:
        with made.timed("mask"):
            person = foreground(frames, backends.analyser)
        with made.timed("encode"):
            made.files["mask.mp4"] = _encode(person, row, recipe, scratch / "mask.mp4", kind="mask")
    made.files["face.safetensors"] = face_tensors(faces)
    made.columns["face_boxes"] = np.round(faces.box).astype(np.int16).tolist()
    return made


def read_crop(row: Row, source: Path, recipe: Recipe) -> np.ndarray:
    """(F, S, S, 3) uint8: the clip's square at its size; source frames are held a few at a time."""
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
    """The curated face followed again in the crop, short gaps filled.

    Raises:
        Refusal: the face is not there in a tenth of the frames or more.
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
    """`.face.safetensors`: per frame landmarks, irises, box and pose in crop pixels and degrees, float16."""
    arrays = {
        "landmarks": faces.landmarks,
        "irises": faces.irises,
        "box": faces.box,
        "pose": faces.pose,
        "presence": faces.presence,
    }
    data: bytes = save({name: np.ascontiguousarray(array, np.float16) for name, array in arrays.items()})
    return data


def _swap(
    streams: dict[str, np.ndarray], made: MadeClip, row: Row, faces: Faces,
    recipe: Recipe, backends: Backends, pool: Pool,
) -> None:  # fmt: skip
    if backends.swapper is None:
        return
    try:
        with made.timed("swap"):
            donor, distance, swapped = _swapped(streams["video"], row, faces, recipe, backends.swapper, pool)
        with made.timed("measure"):
            again = backends.analyser.track(swapped, irises=False)
            quality = motion_columns("swapped", streams["video"], faces, swapped, again)
            quality |= identity_columns(
                streams["video"], faces, swapped, again, donor, backends.analyser, recipe.swap.identity_frames
            )
        gate_swap(quality, recipe.gates)
    except Refusal as refusal:
        made.left_out["swapped"] = refusal
        made.columns["swap_refused"] = str(refusal)
        return
    streams["swapped"] = swapped
    made.columns |= quality | {
        "donor": donor.name,
        "donor_sha256": donor.sha256,
        "donor_pool": pool.sha256,
        "donor_to_source": distance,
        "swapper": "mesh (weak)" if backends.swapper.name == "mesh" else backends.swapper.name,
    }


def _swapped(
    frames: np.ndarray, row: Row, faces: Faces, recipe: Recipe, swapper: Swapper, pool: Pool
) -> tuple[Donor, float | None, np.ndarray]:
    """Swap with the donor whose turn it is; where the pose does not fit, with the ones nearest in pose after it.

    Raises:
        Refusal: there is no donor, or the swap refuses every one that was tried.
    """
    embedding = None if row["embedding"] is None else np.asarray(row["embedding"], np.float32)
    offered = pool.choose(
        row["clip_id"], row["rank"], row["split"], embedding,
        row["source"], row["subject"], row["person"], recipe,
    )  # fmt: skip
    seed = seed_of(recipe.seed, row["clip_id"], "swap")
    donor, distance = next(offered)
    try:
        return donor, distance, swapper(frames, faces, donor, seed)
    except Refusal as refusal:
        if refusal.reason != "yaw":
            raise
        first = refusal
    yaw = float(np.nanmedian(faces.pose[:, 0]))
    others = sorted(offered, key=lambda item: abs(float(pose(item[0].landmarks)[0]) - yaw))
    for donor, distance in others[: recipe.donors.tries - 1]:
        try:
            return donor, distance, swapper(frames, faces, donor, seed)
        except Refusal as refusal:
            if refusal.reason != "yaw":
                raise
    raise first


def _stylise(
    streams: dict[str, np.ndarray], made: MadeClip, row: Row, faces: Faces,
    recipe: Recipe, backends: Backends, pool: Pool, withdrawn: frozenset[str],
) -> None:  # fmt: skip
    if not backends.stylists:
        return
    try:
        stylist, style = _choose_style(row, recipe, backends, pool, withdrawn)
        with made.timed("stylise"):
            styled = stylist(streams["video"], faces, style, seed_of(recipe.seed, row["clip_id"], "stylise"))
        with made.timed("measure"):
            again = backends.analyser.track(styled, irises=False)
            quality = motion_columns("styled", streams["video"], faces, styled, again)
        gate_style(quality, recipe.gates)
    except Refusal as refusal:
        made.left_out["styled"] = refusal
        made.columns["style_refused"] = str(refusal)
        return
    streams["styled"] = styled
    made.columns |= quality | {"style": style.name, "style_sha256": style.sha256, "stylist": stylist.name}


def _choose_style(
    row: Row, recipe: Recipe, backends: Backends, pool: Pool, withdrawn: frozenset[str]
) -> tuple[Stylist, Style]:
    """A backend, then one of its styles, with the clip's seeded generator.

    Styles are drawn in an order that does not depend on which of them were withdrawn.
    """
    generator = keyed_rng(recipe.seed, row["clip_id"], "style")
    stylist = backends.stylists[
        recipe.stylise.backends[int(generator.integers(len(recipe.stylise.backends)))]
    ]
    filters = stylist.name == "filter"
    styles: list[Style | None] = [style for style in backends.styles if (style.kind == "filter") == filters]
    if recipe.stylise.portraits and not filters:
        for donor in pool.others(row["source"], row["subject"], row["person"], row["split"]):
            style = (
                Style(f"portrait {donor.name}", donor.image, "portrait", donor.sha256, donor.licence)
                if donor
                else None
            )
            styles.append(style)
    for number in generator.permutation(len(styles)):
        chosen = styles[int(number)]
        if chosen is not None and chosen.sha256 not in withdrawn:
            return stylist, chosen
    raise Refusal("no_style", f"the {stylist.name} backend has no style to choose from", "give --styles")


def _portrait_style(donor: Donor) -> Style:
    return Style(f"portrait {donor.name}", donor.image, "portrait", donor.sha256, donor.licence)


def _encode_streams(
    streams: dict[str, np.ndarray], made: MadeClip, row: Row, faces: Faces, recipe: Recipe, scratch: Path
) -> None:
    """Encode the kept streams and bake the driving ones."""
    augmentations = []
    for name, frames in streams.items():
        if name in recipe.encode.streams:
            with made.timed("encode"):
                path = scratch / f"{name}.mp4"
                made.files[f"{name}.mp4"] = _encode(frames, row, recipe, path, comment=MARKS.get(name, ""))
        if name in recipe.encode.driving:
            with made.timed("augment"):
                drawn = Augmentation.draw(
                    keyed_rng(recipe.seed, row["clip_id"], f"augment {name}"),
                    recipe.augment.rate,
                    recipe.augment.low,
                    recipe.augment.high,
                )
                driving, boxes = drawn.apply(frames, faces.box)
                landmarks = drawn.points(faces.landmarks, frames.shape[1:3])
            with made.timed("mask"):
                driving = mask_driving(driving, boxes, recipe.mask.mode, landmarks)
            with made.timed("encode"):
                path = scratch / f"driving_{name}.mp4"
                made.files[f"driving_{name}.mp4"] = _encode(
                    driving, row, recipe, path, kind="grey", comment=MARKS.get(name, "")
                )
            augmentations.append({"stream": name, "scale": drawn.scale, "aspect": drawn.aspect})
    made.columns["augmentations"] = augmentations


def _encode(
    frames: np.ndarray, row: Row, recipe: Recipe, path: Path, *, kind: Any = "colour", comment: str = ""
) -> Path:
    settings = recipe.encode
    try:
        again_if_killed(
            lambda: encode(
                frames,
                row["fps"],
                path,
                kind=kind,
                crf=settings.crf,
                gop=settings.gop,
                preset=settings.preset,
                comment=comment,
                ffmpeg_binary=settings.ffmpeg,
            )
        )
    except (
        FfmpegError
    ) as error:  # sound frames that cannot be written: the ffmpeg or the folder, not the clip
        raise UserError(
            f"{error}; check encode.ffmpeg and the output, then run the same command again"
        ) from error
    return path
