"""Candidate clips: face tracks cut at shot boundaries and into windows of bounded length, each with one crop."""

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
class CandidateClip:
    """A possible clip: consecutive frames of the timeline, and measures of one face in each.

    Attributes:
        number: number of the track in its source.
        start: first frame, as a position in the timeline.
        table: (frames, fields), one row of `datagen.curate.track.FIELDS` per frame, with gaps filled.
        face_count: largest number of faces at the same time in the segment.
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
        """Movement of the face itself: about 0.01 in a photograph, 0.1 in a person who talks.

        Sum of the standard deviations of mouth opening, eye opening, and yaw, pitch and roll in units of 100 degrees.
        """
        spread = self.column("mouth", "eyes", "yaw", "pitch", "roll").std(axis=0)
        return float(spread[:2].sum() + spread[2:].sum() / 100)


def candidates(
    tracking: Tracking, settings: Curate, gates: Gates, breaks: Iterable[int] = ()
) -> list[CandidateClip]:
    """Segments of tracks inside one shot, cut into windows of at most `max_frames`; short segments are dropped.

    With `faces: largest`, segments do not overlap in time: the one with the largest face, summed over its frames, is
    kept. Segments with a moving face come before still ones, such as a poster or a photograph beside the speaker.

    Args:
        tracking: face tracks of the source.
        settings: the recipe's settings of curation.
        gates: `min_movement` tells a moving face from a still one.
        breaks: frames that follow a gap in time; no clip contains such a gap.

    Raises:
        Refusal: no segment is long enough.
    """
    still = gates.min_movement or 0.0
    cuts = sorted({*find_cuts(tracking.change, settings.shot_threshold), *(int(index) for index in breaks)})
    segments = list(_segments(tracking, cuts))
    longest = max((len(segment.table) for segment in segments), default=0)
    if longest < settings.min_frames:
        raise Refusal(
            "too_short",
            f"the longest run of one face is {longest} frames, fewer than {settings.min_frames}",
            "lower curate.min_frames",
            measure="frames",
            value=longest,
            limit=settings.min_frames,
        )
    segments = [segment for segment in segments if len(segment.table) >= settings.min_frames]
    if settings.faces == "largest":
        segments.sort(
            key=lambda segment: (
                segment.movement < still, -float(square_side(segment.boxes).sum()), segment.start, segment.number
            )
        )  # fmt: skip
        kept: list[CandidateClip] = []
        for segment in segments:
            if all(segment.stop <= other.start or segment.start >= other.stop for other in kept):
                kept.append(segment)
        segments = kept
    windows = [window for segment in segments for window in _windows(segment, settings)]
    windows.sort(key=lambda segment: (-len(segment.table), segment.start, segment.number))
    chosen = windows[: settings.max_clips_per_source]
    return sorted(chosen, key=lambda segment: (segment.start, segment.number))


def fit(candidate: CandidateClip, info: VideoInfo, settings: Curate) -> tuple[ClipCrop, float]:
    """The clip's crop, and the factor by which it is enlarged to the clip's size (at least 1).

    Raises:
        Refusal: `too_small`, the factor is too large; `framing`, too much of the crop is outside the picture.
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


def best_frame(candidate: CandidateClip) -> int:
    """Best frame for a portrait: frontal, mouth closed, eyes as open as usual, sharp, with a high presence."""
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


def _segments(tracking: Tracking, cuts: list[int]) -> Iterator[CandidateClip]:
    """Tracks, cut at shot boundaries and where the face box jumps."""
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
            yield CandidateClip(number, start, table[begin:end], max(together, default=1))


def _windows(segment: CandidateClip, settings: Curate) -> Iterator[CandidateClip]:
    """The segment in windows of equal length, at most `max_frames`."""
    length = len(segment.table)
    count = -(-length // settings.max_frames)
    if length // count < settings.min_frames:
        count = max(length // settings.min_frames, 1)
    size = min(length // count, settings.max_frames)
    for index in range(count):
        begin = index * length // count
        yield CandidateClip(
            segment.number, segment.start + begin, segment.table[begin : begin + size], segment.face_count
        )
