"""Track all faces of a source through its frames, in one pass with bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from datagen.curate.frame_hashes import frame_hash
from datagen.curate.shots import FrameChange
from datagen.faces import Detection, FaceAnalyser
from datagen.faces.boxes import iou
from datagen.faces.geometry import eye_opening, face_box, gaze, mouth_opening, pose
from datagen.imaging.crop import ClipCrop, square_side

# The measures kept of a face in one frame; landmarks are not kept, so that an hour of video stays small.
FIELDS = (
    *("x0", "y0", "x1", "y1", "presence", "yaw", "pitch", "roll"),
    *("mouth", "eyes", "gaze_x", "gaze_y", "sharpness"),
)
COLUMN = {name: index for index, name in enumerate(FIELDS)}
GAZE_EVERY = 3  # frames between two measurements of the gaze, which take time


@dataclass(eq=False)
class Track:
    """One face over consecutive frames.

    Attributes:
        start: position of the first record in the timeline.
        records: one row of `FIELDS` per frame; NaN where the face was not found.
        landmarks: the face's landmarks in the last frame in which it was found.
        lost: number of frames since then.
    """

    start: int
    records: list[np.ndarray] = field(default_factory=list)
    landmarks: np.ndarray | None = None
    lost: int = 0

    @property
    def stop(self) -> int:
        """One past the last frame."""
        return self.start + len(self.records)

    @property
    def box(self) -> np.ndarray:
        """Last box in which the face was found."""
        for record in reversed(self.records):
            if not np.isnan(record[0]):
                return record[:4]
        raise ValueError("a track has at least one box")

    def table(self) -> np.ndarray:
        """(frames, fields) float32 with gaps interpolated linearly."""
        table = np.stack(self.records)
        ticks = np.arange(len(table))
        for column in range(table.shape[1]):
            seen = ~np.isnan(table[:, column])
            if seen.any() and not seen.all():
                table[:, column] = np.interp(ticks, ticks[seen], table[seen, column])
        return table


@dataclass(frozen=True)
class Tracking:
    """Result of one pass over a source.

    Attributes:
        tracks: the tracks of all faces.
        change: (F,) change of each frame from the previous one, see `datagen.curate.shots.FrameChange`.
        hashes: position of a frame -> its perceptual hash, for the frames to hash that have contrast.
    """

    tracks: list[Track]
    change: np.ndarray
    hashes: dict[int, int]


class FaceFollower:
    """Tracks all faces: the mesh in each frame, the detector at intervals and while a face is lost.

    Args:
        analyser: face analysis.
        detect_every: frames between two runs of the detector.
        max_gap: frames for which a face may be lost before its track ends.
        min_presence: presence from which a face counts as found.
    """

    def __init__(
        self, analyser: FaceAnalyser, *, detect_every: int, max_gap: int, min_presence: float
    ) -> None:
        self.analyser = analyser
        self.detect_every = max(detect_every, 1)
        self.max_gap = max_gap
        self.min_presence = min_presence

    def __call__(self, frames: Iterable[np.ndarray], hashed: Iterable[int] = ()) -> Tracking:
        """Track through RGB frames, one at a time.

        Args:
            frames: the timeline's frames, in order.
            hashed: positions of the frames to hash, see `datagen.curate.frame_hashes.grid`.
        """
        wanted = {int(index) for index in hashed}
        hashes = {}
        active: list[Track] = []
        done: list[Track] = []
        change = FrameChange()
        changes = []
        for index, frame in enumerate(frames):
            changes.append(change(frame))
            if index in wanted and (code := frame_hash(frame)) is not None:
                hashes[index] = code
            for track in active:
                self._follow(track, frame)
            lost = any(track.lost for track in active)
            if index % self.detect_every == 0 or (lost and index % 2 == 0):
                self._detect(frame, index, active)
            kept: list[Track] = []
            for track in active:  # oldest first
                ended = track.lost > self.max_gap or _covers_another(track, kept)
                (done if ended else kept).append(track)
            active = kept
        done.extend(active)
        for track in done:
            _trim(track)
        found = sorted(
            (track for track in done if track.records), key=lambda track: (track.start, track.records[0][0])
        )
        return Tracking(found, np.array(changes, np.float32), hashes)

    def _follow(self, track: Track, frame: np.ndarray) -> None:
        if track.landmarks is not None and not track.lost:
            landmarks, presence = self.analyser.follow(frame, track.landmarks)
            if presence >= self.min_presence and _plausible(track.box, face_box(landmarks)):
                track.landmarks = landmarks
                track.records.append(self._record(frame, landmarks, presence, len(track.records)))
                return
        track.lost += 1
        track.records.append(np.full(len(FIELDS), np.nan, np.float32))

    def _detect(self, frame: np.ndarray, index: int, active: list[Track]) -> None:
        for detection in self.analyser.detect(frame):
            nearest = max(active, key=lambda track: iou(track.box, detection.box), default=None)
            if nearest is not None and iou(nearest.box, detection.box) > 0.15:
                if nearest.lost:
                    self._start(nearest, frame, detection, replace=True)
                continue
            track = Track(index)
            if self._start(track, frame, detection, replace=False):
                active.append(track)

    def _start(self, track: Track, frame: np.ndarray, detection: Detection, *, replace: bool) -> bool:
        """Start or resume a track at a detection; False if the mesh sees no face.

        Args:
            track: new, or lost.
            frame: RGB.
            detection: the detection in this frame.
            replace: overwrite the last record instead of adding one.
        """
        landmarks, presence = self.analyser.landmarks(frame, detection)
        if presence < self.min_presence:
            return False
        record = self._record(frame, landmarks, presence, len(track.records))
        if replace:
            track.records[-1] = record
        else:
            track.records.append(record)
        track.landmarks, track.lost = landmarks, 0
        return True

    def _record(self, frame: np.ndarray, landmarks: np.ndarray, presence: float, age: int) -> np.ndarray:
        box = face_box(landmarks)
        side = float(square_side(box[None])[0])
        centre = (box[:2] + box[2:]) / 2
        face = _square(centre, side).cut(frame, 128)
        grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
        gaze_xy = np.full(2, np.nan, np.float32)
        if age % GAZE_EVERY == 0:
            gaze_xy = gaze(landmarks, self.analyser.irises(frame, landmarks))
        values = [
            *box,
            presence,
            *pose(landmarks),
            mouth_opening(landmarks),
            eye_opening(landmarks),
            *gaze_xy,
            float(cv2.Laplacian(grey, cv2.CV_32F).var()),
        ]
        return np.array(values, np.float32)


def _square(centre: np.ndarray, side: float) -> ClipCrop:
    size = max(round(side), 2)
    corner = np.round(centre - size / 2).astype(int)
    return ClipCrop(int(corner[0]), int(corner[1]), size)


def _plausible(last: np.ndarray, box: np.ndarray) -> bool:
    """Whether the box moved and changed its size no more than a face does between two frames."""
    ratio = float(square_side(box[None])[0] / max(square_side(last[None])[0], 1e-3))
    return iou(last, box) > 0.2 and 0.6 < ratio < 1.67


def _covers_another(track: Track, older: list[Track]) -> bool:
    """Whether the mesh of this track has moved onto the face of an older track."""
    return any(not other.lost and iou(other.box, track.box) > 0.5 for other in older)


def _trim(track: Track) -> None:
    """Remove the records at the end in which the face was not found."""
    while track.records and np.isnan(track.records[-1][0]):
        track.records.pop()
