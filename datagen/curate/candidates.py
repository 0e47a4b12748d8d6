"""Cut tracks into clips: shots, windows of bounded length, one crop each, measured and gated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from datagen.common.errors import Refusal
from datagen.curate.shots import find_cuts
from datagen.curate.track import COLUMN, Tracking
from datagen.faces.boxes import iou
from datagen.imaging.crop import ClipCrop, choose_crop, square_side
from datagen.media import VideoInfo
from datagen.recipe import Curate, Gates


@dataclass(frozen=True)
class Candidate:
    """One possible clip: frames `start..stop` of the timeline and the face's record in each.

    Attributes:
        number: number of the track in its source.
        table: (frames, fields) of `datagen.curate.track.FIELDS`, gaps filled.
        face_count: most faces seen at once in the shot.
    """

    number: int
    start: int
    table: np.ndarray
    face_count: int

    @property
    def stop(self) -> int:
        """One past the last frame."""
        return self.start + len(self.table)

    def column(self, *names: str) -> np.ndarray:
        """(frames, len(names)) or (frames,) values."""
        picked = self.table[:, [COLUMN[name] for name in names]]
        return picked[:, 0] if len(names) == 1 else picked

    @property
    def boxes(self) -> np.ndarray:
        """(frames, 4) face boxes in source pixels."""
        return self.table[:, :4]

    @property
    def movement(self) -> float:
        """How much the face moves in itself: about 0.01 in a photograph, 0.1 in someone who talks.

        Sum of the standard deviations of mouth and eye opening and, over 100 degrees, of yaw, pitch and roll.
        """
        spread = self.column("mouth", "eyes", "yaw", "pitch", "roll").std(axis=0)
        return float(spread[:2].sum() + spread[2:].sum() / 100)


def candidates(
    tracking: Tracking, settings: Curate, gates: Gates, breaks: Iterable[int] = ()
) -> list[Candidate]:
    """Segments of tracks inside one shot, cut into windows of at most `max_frames`; too short ones are dropped.

    With `faces: largest` one face per moment of a shot is kept, the one that fills most of it; a person goes before
    a picture of one (a panel beside the speaker, a poster).

    Args:
        breaks: frames that follow a gap in time, which no clip goes across.

    Raises:
        Refusal: no segment is long enough.
    """
    still = gates.min_movement or 0.0
    cuts = sorted({*find_cuts(tracking.change, settings.shot_threshold), *(int(index) for index in breaks)})
    segments = list(_segments(tracking, cuts))
    longest = max((len(piece.table) for piece in segments), default=0)
    if longest < settings.min_frames:
        raise Refusal(
            "too_short",
            f"the longest run of one face is {longest} frames, fewer than {settings.min_frames}",
            "lower curate.min_frames",
            measure="frames",
            value=longest,
            limit=settings.min_frames,
        )
    segments = [piece for piece in segments if len(piece.table) >= settings.min_frames]
    if settings.faces == "largest":
        segments.sort(
            key=lambda piece: (
                piece.movement < still, -float(square_side(piece.boxes).sum()), piece.start, piece.number
            )
        )  # fmt: skip
        kept: list[Candidate] = []
        for piece in segments:
            if all(piece.stop <= other.start or piece.start >= other.stop for other in kept):
                kept.append(piece)
        segments = kept
    windows = [window for piece in segments for window in _windows(piece, settings)]
    windows.sort(key=lambda piece: (-len(piece.table), piece.start, piece.number))
    chosen = windows[: settings.max_clips_per_source]
    return sorted(chosen, key=lambda piece: (piece.start, piece.number))


def fit(candidate: Candidate, info: VideoInfo, settings: Curate) -> tuple[ClipCrop, float]:
    """The clip's crop and its enlargement.

    Raises:
        Refusal: the face is too small for the recipe, or too much of the crop lies outside the picture.
    """
    crop = choose_crop(candidate.boxes, info.width, info.height, settings.crop_scale)
    upscale = max(settings.size / crop.size, 1.0)
    if upscale > settings.max_upscale:
        raise Refusal(
            "too_small",
            f"the {crop.size} px crop would be enlarged {upscale:.2f} times, more than {settings.max_upscale:g}",
            "raise curate.max_upscale or lower curate.size",
            measure="upscale",
            value=upscale,
            limit=settings.max_upscale,
        )
    outside = crop.outside(info.width, info.height)
    if outside > settings.max_outside:
        raise Refusal(
            "framing",
            f"{outside:.0%} of the crop lies outside the picture, more than {settings.max_outside:.0%}",
            "raise curate.max_outside or lower curate.crop_scale",
            measure="outside",
            value=outside,
            limit=settings.max_outside,
        )
    return crop, upscale


def best_frame(candidate: Candidate) -> int:
    """Frame that serves best as a portrait: frontal, mouth closed, eyes open, sharp, face found with certainty."""
    table = candidate.column("yaw", "pitch", "roll", "mouth", "eyes", "sharpness", "presence")
    yaw, pitch, roll, mouth, eyes, sharpness, presence = table.T
    score = -((yaw / 12) ** 2) - (pitch / 20) ** 2 - (roll / 20) ** 2 - (mouth / 0.12) ** 2
    score = (
        score
        - ((eyes - np.median(eyes)) / 0.08) ** 2
        + sharpness / max(float(sharpness.max()), 1e-6)
        + presence
    )
    return int(np.argmax(score))


def _segments(tracking: Tracking, cuts: list[int]) -> Iterator[Candidate]:
    """Tracks cut at shot cuts and where the box jumps."""
    for number, track in enumerate(tracking.tracks):
        table = track.table()
        boxes = table[:, :4]
        jumps = [index for index in range(1, len(boxes)) if iou(boxes[index - 1], boxes[index]) < 0.2]
        inside = [cut - track.start for cut in cuts if 0 < cut - track.start < len(table)]
        edges = sorted({0, *inside, *jumps, len(table)})
        for begin, end in pairwise(edges):
            start, stop = track.start + begin, track.start + end
            together = [
                sum(other.start <= moment < other.stop for other in tracking.tracks)
                for moment in range(start, stop, 5)
            ]
            yield Candidate(number, start, table[begin:end], max(together, default=1))


def _windows(piece: Candidate, settings: Curate) -> Iterator[Candidate]:
    """Equal windows of at most `max_frames`."""
    length = len(piece.table)
    count = -(-length // settings.max_frames)
    if length // count < settings.min_frames:
        count = max(length // settings.min_frames, 1)
    size = min(length // count, settings.max_frames)
    for index in range(count):
        begin = index * length // count
        yield Candidate(
            piece.number, piece.start + begin, piece.table[begin : begin + size], piece.face_count
        )
