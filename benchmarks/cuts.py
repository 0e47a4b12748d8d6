"""Shot cuts: the own finder compared with PySceneDetect's detectors, on files whose cuts are known.

`pip install scenedetect; python -m benchmarks.cuts VIDEOS`: a folder of videos of one shot each, pieces of which are
joined into files by the bundled ffmpeg. Prints the cuts found and the false cuts for each kind of file and each finder.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from scenedetect import AdaptiveDetector, ContentDetector, FrameTimecode, SceneDetector

from datagen.curate.shots import FrameChange, find_cuts
from datagen.media import VideoReader, encode
from datagen.recipe import Curate

SIDE, FPS, PIECE = 384, 25, 60
Cuts = list[tuple[int, int]]  # first and last frame at which a cut may be reported


def own(frames: np.ndarray) -> list[int]:
    change = FrameChange()
    return find_cuts(np.array([change(frame) for frame in frames]), Curate().shot_threshold)


def scenedetect(make: Callable[[], SceneDetector]) -> Callable[[np.ndarray], list[int]]:
    """A detector, given BGR frames 256 pixels wide as `SceneManager` gives them."""

    def find(frames: np.ndarray) -> list[int]:
        detector, found = make(), []
        times = [FrameTimecode(number, float(FPS)) for number in range(len(frames))]
        for time_code, frame in zip(times, frames, strict=True):
            small = cv2.resize(frame[..., ::-1], (256, 256), interpolation=cv2.INTER_LINEAR)
            found += detector.process_frame(time_code, small)
        return [cut.frame_num for cut in found + detector.post_process(times[-1])]

    return find


FINDERS = {
    "own": own,
    "content": scenedetect(ContentDetector),
    "content, min 1": scenedetect(lambda: ContentDetector(min_scene_len=1)),
    "adaptive, min 1": scenedetect(lambda: AdaptiveDetector(min_scene_len=1)),
}


def load(path: Path) -> np.ndarray:
    """Up to four pieces of frames (F, SIDE, SIDE, 3): the middle square of the picture."""
    with VideoReader(path) as reader:
        edge = min(reader.info.width, reader.info.height)
        top, left = (reader.info.height - edge) // 2, (reader.info.width - edge) // 2
        batches = (batch for _, batch in reader.batches(0, 4 * PIECE, size=8))
        squares = (frame[top : top + edge, left : left + edge] for batch in batches for frame in batch)
        return np.stack([cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in squares])


def dissolve(one: np.ndarray, other: np.ndarray, length: int) -> tuple[np.ndarray, Cuts]:
    """Two pieces, the last frames of the first mixed with the first ones of the second; a hard cut at length 0."""
    start = len(one) - length
    share = (np.arange(1, length + 1) / (length + 1)).reshape(-1, 1, 1, 1)
    mixed = np.round(one[start:] * (1 - share) + other[:length] * share).astype(np.uint8)
    return np.concatenate([one[:start], mixed, other[length:]]), [(start, len(one))]


def cases(clips: list[np.ndarray]) -> Iterator[tuple[str, np.ndarray, Cuts]]:
    rng = np.random.default_rng(0)
    for index, clip in enumerate(clips):
        one, other, third = clip[:PIECE], clips[index - 1][:PIECE], clips[index - 5][:9]
        start = int(rng.integers(10, PIECE - 15))
        for name, length in (("hard cut", 0), ("dissolve of 4", 4), ("dissolve of 12", 12)):
            yield name, *dissolve(one, other, length)
        near = [(cut, cut) for cut in (len(one), len(one) + 9)]
        yield "hard cuts, 9 frames apart", np.concatenate([one, third, other]), near
        yield "whole shot", clip, []
        flash = one.copy()
        flash[start : start + 3] = 0.25 * one[start : start + 3] + 190
        yield "flash of 3", flash, []
        yield "light goes down", np.concatenate([one[:start], (0.6 * one[start:]).astype(np.uint8)]), []
        shifts = np.clip(np.cumsum(rng.normal(0, 0.04 * SIDE, (len(one), 2)), axis=0), -57, 57) - 57
        maps = [np.array([[1.3, 0, x], [0, 1.3, y]]) for x, y in shifts]
        moved = [cv2.warpAffine(frame, m, (SIDE, SIDE)) for frame, m in zip(one, maps, strict=True)]
        yield "camera moves 6%", np.stack(moved), []


def main() -> None:
    clips = [load(path) for path in sorted(Path(sys.argv[1]).glob("*.mp4"))]
    totals: dict[str, np.ndarray] = defaultdict(lambda: np.zeros((len(FINDERS), 4), int))
    seconds, frame_count = np.zeros(len(FINDERS)), 0
    for name, frames, cuts in cases(clips):
        with tempfile.TemporaryDirectory() as folder:
            encode(frames, FPS, path := Path(folder) / "joined.mp4", crf=23, gop=50)
            with VideoReader(path) as reader:
                decoded = reader.read(range(len(reader)))
        frame_count += len(decoded)
        for number, find in enumerate(FINDERS.values()):
            begin = time.perf_counter()
            reported = find(decoded)
            seconds[number] += time.perf_counter() - begin
            found = sum(any(low <= cut <= high for cut in reported) for low, high in cuts)
            false = sum(not any(low <= cut <= high for low, high in cuts) for cut in reported)
            totals[name][number] += 1, len(cuts), found, false
    print(f"{'':<28}{'files':>6}{'cuts':>6}", *(f"{finder:>18}" for finder in FINDERS))
    for name, rows in totals.items():
        cells = (f"{found} + {false} false" for _, _, found, false in rows)
        print(f"{name:<28}{rows[0][0]:>6}{rows[0][1]:>6}", *(f"{cell:>18}" for cell in cells))
    print(f"{'ms per frame':<40}", *(f"{value:>18.2f}" for value in 1000 * seconds / frame_count))


if __name__ == "__main__":
    main()
