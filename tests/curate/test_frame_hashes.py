"""Frame hashes find copies of footage and nothing else."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from datagen.curate.frame_hashes import frame_hash, grid
from datagen.media import VideoReader
from datagen.plan.links import same_footage
from tests.support import SHARED, convert

VIDEOS = SHARED / "media" / "videos"
needs_videos = pytest.mark.skipif(not VIDEOS.is_dir(), reason="needs the shared real clips")
SAME = 8  # bits


def hashes(path: Path) -> np.ndarray:
    with VideoReader(path) as reader:
        found = [frame_hash(reader.read([index])[0]) for index in grid(reader.times_F)]
    return np.array([code for code in found if code is not None], np.uint64)


def closest(first: np.ndarray, second: np.ndarray) -> int:
    """Smallest number of bits at which the two count as the same footage."""
    return next(bits for bits in range(65) if same_footage(first, second, bits))


@needs_videos
@pytest.mark.parametrize(
    ("name", "options", "before"),
    [
        ("sh02_woman_30fps", ["-crf", "35"], []),
        ("sh14_senator_2997fps", ["-vf", "scale=200:200", "-r", "15", "-crf", "30"], []),
        ("sh05_hdtf_WDA_KatieHill_000", ["-vf", "eq=brightness=0.06:contrast=1.15"], []),
        ("sh10_megactor_CHTF_4", ["-crf", "28"], ["-ss", "0.25"]),
        ("sh11_megactor_ENTF_1", ["-crf", "28"], ["-ss", "1.13"]),
    ],
)
def test_a_copy_is_found(tmp_path: Path, name: str, options: list[str], before: list[str]) -> None:
    source = VIDEOS / f"{name}.mp4"
    copy = convert(source, tmp_path / "copy.mp4", "-an", "-c:v", "libx264", *options, before=before)
    assert closest(hashes(source), hashes(copy)) <= SAME


@needs_videos
def test_different_videos_are_not_the_same() -> None:
    names = ("sh01", "sh02", "sh04", "sh05", "sh10", "sh11", "sh14", "ed02")
    videos = {name: hashes(next(VIDEOS.glob(f"{name}_*.mp4"))) for name in names}
    assert min(closest(videos[one], videos[other]) for one, other in combinations(names, 2)) >= 16


def test_a_flat_frame_has_no_hash_and_brightness_does_not_change_it() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(10, 14, (90, 120, 3)).astype(np.uint8)
    assert frame_hash(noise) is None
    blocks = np.kron(rng.integers(0, 200, (8, 8, 1)), np.ones((20, 20, 3), int)).astype(np.uint8)
    code = frame_hash(blocks)
    assert code is not None and 0 <= code < 2**63
    assert frame_hash(blocks + np.uint8(40)) == code


def test_frames_nearest_to_each_half_second() -> None:
    assert grid(np.arange(36) / 25).tolist() == [0, 12, 25, 35]
    assert grid(np.array([0.1, 0.1, 0.45, 0.52, 1.3])).tolist() == [0, 3, 4]
    assert len(grid(np.array([0.0, 0.04, 1e9, 1e9 + 0.04]))) == 2  # a jump in the timestamps adds no frame
