"""The clips and failures of one source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from datagen.common.errors import Refusal
from datagen.curate.candidates import CandidateClip, best_frame, candidates, fit
from datagen.curate.frame_hashes import grid
from datagen.curate.gates import check, measure
from datagen.curate.timeline import breaks, timeline
from datagen.curate.track import FaceFollower
from datagen.donors.donor import check_portrait
from datagen.faces import FaceAnalyser
from datagen.imaging.crop import ClipCrop
from datagen.media import VideoReader, again_if_killed
from datagen.output.failures import failure_row, refuse_unexpected
from datagen.output.ids import clip_id_of
from datagen.output.schema import Row
from datagen.plan.tasks import Refused
from datagen.recipe import Recipe
from datagen.sources.files import SourceFiles

CARRIED = ("source", "source_key", "dataset", "subject", "group", "licence", "consent", "sharing", "credit")
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue, as in `cv2.COLOR_RGB2GRAY`


def curate_source(
    row: Row,
    recipe: Recipe,
    analyser: FaceAnalyser,
    scratch: Path,
    refused: Refused,
    files: SourceFiles,
) -> tuple[list[Row], list[Row]]:
    """Clip rows and failure rows of one source; bad content of a source gives failure rows, never an exception.

    Args:
        row: the source's row of the plan.
        recipe: the run's recipe.
        analyser: face analysis.
        scratch: folder for a member that is copied out of its archive.
        refused: source key -> reason and message, for sources known to crash the process.
        files: opens sources.
    """
    clips: list[Row] = []
    failures: list[Row] = []
    try:
        if row["source_key"] in refused:
            raise Refusal(*refused[row["source_key"]])
        with refuse_unexpected(), files.open(row, scratch) as opened:
            for clip in again_if_killed(lambda: _read(opened.path, row, recipe, analyser)):
                if isinstance(clip, tuple):
                    failures.append(_failed(row, *clip))
                else:
                    clips.append(clip | {"source_sha256": opened.sha256})
        if not clips and not failures:
            raise Refusal("too_short", "no face was followed long enough", "lower curate.min_frames")
    except Refusal as refusal:
        # Clips found before are dropped: if the file was replaced while it was read, they may be from either file.
        return [], [_failed(row, None, refusal)]
    return clips, failures


def _failed(row: Row, clip_id: str | None, refusal: Refusal) -> Row:
    return failure_row(row["part"], row["source"], refusal, stage="curate", clip_id=clip_id)


def _read(path: Path, row: Row, recipe: Recipe, analyser: FaceAnalyser) -> list[Row | tuple[str, Refusal]]:
    """Clip rows of a file; for clips that fail a gate, the id and the refusal."""
    with VideoReader(path) as reader:
        return list(_clips(row, recipe, analyser, reader))


def _clips(
    row: Row, recipe: Recipe, analyser: FaceAnalyser, reader: VideoReader
) -> Iterator[Row | tuple[str, Refusal]]:
    settings = recipe.curate
    chosen, fps = timeline(reader.info, reader.times_F, settings)
    follower = FaceFollower(
        analyser,
        detect_every=round(settings.detect_every_s * fps),
        max_gap=round(settings.max_gap_s * fps),
        min_presence=recipe.gates.min_presence,
    )
    times_s = reader.times_F[chosen]
    tracking = follower(_frames(reader, chosen), grid(times_s))
    if not tracking.tracks:
        raise Refusal("no_face", f"no face in {len(chosen)} frames")
    for candidate in candidates(tracking, settings, recipe.gates, breaks(times_s)):
        clip_id = clip_id_of(row["name"], row["source_key"], candidate.number, candidate.start)
        try:
            with refuse_unexpected():
                clip = _clip(clip_id, row, recipe, analyser, reader, candidate, chosen, fps)
        except Refusal as refusal:
            yield clip_id, refusal
            continue
        inside = range(candidate.start, candidate.stop)
        yield clip | {"frame_hashes": [code for at, code in tracking.hashes.items() if at in inside]}


def _clip(
    clip_id: str,
    row: Row,
    recipe: Recipe,
    analyser: FaceAnalyser,
    reader: VideoReader,
    candidate: CandidateClip,
    chosen: np.ndarray,
    fps: float,
) -> Row:
    info, size = reader.info, recipe.curate.size
    crop, upscale = fit(candidate, info, recipe.curate)
    quality = measure(candidate, crop)
    check(quality | {"movement": candidate.movement}, recipe.gates)
    frames = chosen[candidate.start : candidate.stop]
    best = best_frame(candidate)
    quality["luma"], portrait = _luma_and_portrait(reader, frames, crop, best, size)
    check({"luma": quality["luma"]}, recipe.gates)
    embedding, score = _identity(portrait, analyser, recipe)
    return {
        "clip_id": clip_id,
        "part": row["part"],
        **{name: row[name] for name in CARRIED},
        "start_s": float(reader.times_F[frames[0]]),
        "end_s": float(reader.times_F[frames[0]]) + len(frames) / fps,
        "frames": len(frames),
        "fps": fps,
        "size": size,
        "upscale": upscale,
        "has_audio": info.has_audio,
        "source_width": info.width,
        "source_height": info.height,
        "source_fps": info.fps,
        "crop": {"x": crop.x, "y": crop.y, "size": crop.size},
        "padding": crop.padding(info.width, info.height),
        "face_boxes": np.round(crop.to_clip(candidate.boxes, size)).astype(np.int16).tolist(),
        **quality,
        "face_count": candidate.face_count,
        "source_frames": frames.tolist(),
        "embedding": None if embedding is None else embedding.tolist(),
        "donor_score": score,
        "donor_frame": int(frames[best]),
    }


def _luma_and_portrait(
    reader: VideoReader, frames: np.ndarray, crop: ClipCrop, best: int, size: int
) -> tuple[float, np.ndarray]:
    """Mean luma of a clip (without padding), and the crop of its frame number `best`.

    The crop is known only after tracking, so the clip's frames are decoded again. This takes about a tenth of the time
    of tracking; the best frame alone would need a part of it, since decoding starts at a key frame.
    """
    total, portrait = 0.0, None
    for number, frame in enumerate(_frames(reader, frames)):
        total += float(np.dot(cv2.mean(crop.inside(frame))[:3], LUMA))
        if number == best:
            portrait = crop.cut(frame, size)
    assert portrait is not None
    return total / len(frames), portrait


def _identity(
    portrait: np.ndarray, analyser: FaceAnalyser, recipe: Recipe
) -> tuple[np.ndarray | None, float | None]:
    """Embedding and donor score of the face in the middle of a portrait; None for a value that cannot be measured."""
    detections = analyser.detect(portrait)
    if not detections:
        return None, None
    centre = np.full(2, portrait.shape[0] / 2)
    middle = min(
        detections, key=lambda face: float(np.linalg.norm((face.box[:2] + face.box[2:]) / 2 - centre))
    )
    landmarks, presence = analyser.landmarks(portrait, middle)
    if presence < recipe.gates.min_presence:
        return None, None
    embedding = analyser.embed(portrait, landmarks)
    try:
        donor = check_portrait(portrait, analyser)
    except Refusal:
        return embedding, None
    return embedding, float(donor.score)


def _frames(reader: VideoReader, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """Frames of the timeline in order."""
    for batch in reader.stream(chosen, reader.handful):
        yield from batch
