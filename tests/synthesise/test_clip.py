"""A killed ffmpeg is tried again, then its clip fails; a full disk stops the run. Choice of a donor by pose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datagen.common.errors import Refusal, UserError
from datagen.donors.donor import Donor
from datagen.donors.pool import Pool
from datagen.media import encode
from datagen.output.failures import refuse_unexpected
from datagen.recipe import Recipe, load_recipe
from datagen.synthesise import swapped
from datagen.synthesise.clip import read_crop
from datagen.synthesise.encoded import encode_stream
from datagen.synthesise.swapped import swap_in_turn
from tests.donors.made import YAWS, offered, pool, row
from tests.media.conftest import numbered

Dying = Callable[..., str]
FRAMES = np.array([numbered(number) for number in range(10)])
ROW: dict[str, Any] = {
    "fps": 25.0,
    "size": 64,
    "crop": {"x": -8, "y": 0, "size": 96},
    "source_frames": [*range(10)],
}


def recipe(ffmpeg: str) -> Recipe:
    return load_recipe(None, [f"encode.ffmpeg={ffmpeg!r}"])


def test_an_encoder_killed_once_gives_the_same_bytes(tmp_path: Path, dying_ffmpeg: Dying) -> None:
    dying = dying_ffmpeg("head -c 100000 > /dev/null; kill -9 $$", times=1)
    written = encode_stream(FRAMES, ROW, recipe(dying), tmp_path / "one.mp4")
    undisturbed = encode_stream(FRAMES, ROW, load_recipe(None, []), tmp_path / "other.mp4")
    assert written.read_bytes() == undisturbed.read_bytes()


def test_an_encoder_killed_every_time_fails_the_clip(tmp_path: Path, dying_ffmpeg: Dying) -> None:
    with pytest.raises(Refusal) as caught:
        encode_stream(FRAMES, ROW, recipe(dying_ffmpeg("kill -9 $$")), tmp_path / "one.mp4")
    assert caught.value.reason == "out_of_memory"


def test_a_full_disk_and_a_broken_ffmpeg_stop_the_run(tmp_path: Path, dying_ffmpeg: Dying) -> None:
    with pytest.raises(UserError, match="is full"), refuse_unexpected():
        encode_stream(FRAMES, ROW, load_recipe(None, []), Path("/dev/full"))
    with pytest.raises(UserError, match=r"encode\.ffmpeg"), refuse_unexpected():
        encode_stream(FRAMES, ROW, recipe(dying_ffmpeg("exit 8")), tmp_path / "one.mp4")


def test_a_crop_is_read_again_where_the_decoder_is_killed(
    tmp_path: Path, dying_ffmpeg: Dying, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(FRAMES, 25, tmp_path / "source.mp4")
    expected = read_crop(ROW, tmp_path / "source.mp4", load_recipe(None, []))
    monkeypatch.setattr("datagen.media.backends.DECODE_AHEAD_BYTES", 0)  # long videos are streamed by ffmpeg
    once = recipe(dying_ffmpeg("FFMPEG | head -c 100000; kill -9 $$", times=1))
    read = read_crop(ROW, tmp_path / "source.mp4", once)
    assert np.abs(read.astype(int) - expected).mean() < 1
    with pytest.raises(Refusal, match="in each of"):
        read_crop(ROW, tmp_path / "source.mp4", recipe(dying_ffmpeg("kill -9 $$")))


class Picky:
    """A swapper that accepts only some donors."""

    name, models = "picky", ()

    def __init__(self, takes: str) -> None:
        self.takes = takes
        self.asked: list[str] = []

    def __call__(self, frames: np.ndarray, faces: Any, donor: Donor, seed: int) -> np.ndarray:
        self.asked.append(donor.name)
        if donor.name not in self.takes:
            raise Refusal("yaw", f"turned away from {donor.name}", "", "yaw", 50.0, 40.0)
        return frames


@pytest.fixture
def poses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads the yaw of a portrait from its first landmark."""
    monkeypatch.setattr(swapped, "pose", lambda landmarks: (landmarks[0, 0], 0, 0))


def turned(pool: Pool) -> Pool:
    for member in pool.members:
        assert member.donor is not None
        member.donor.landmarks[0, 0] = YAWS[member.donor.name]
    return pool


class Face:
    pose = np.array([[12.0, 0, 0], [14.0, 0, 0], [np.nan, 0, 0]])


def swap(swapper: Picky, tries: int) -> str:
    recipe = load_recipe(None, [f"donors.tries={tries}"])
    donor, _, _ = swap_in_turn(np.zeros((3, 2, 2, 3)), row(), Face(), recipe, swapper, turned(pool()))  # type: ignore[arg-type]
    return donor.name


def test_when_the_pose_does_not_fit_donors_of_similar_pose_are_tried(poses: None) -> None:
    first = offered(pool(), Recipe())[0]
    by_pose = [name for name in ("c", "e", "d", "a", "b") if name != first]
    last = Picky(by_pose[2])
    assert swap(last, tries=4) == by_pose[2]
    assert last.asked == [first, *by_pose[:3]]


def test_the_first_refusal_is_reported_when_all_tries_fail(poses: None) -> None:
    first = offered(pool(), Recipe())[0]
    none = Picky("")
    with pytest.raises(Refusal, match=f"turned away from {first}"):
        swap(none, tries=3)
    assert len(none.asked) == 3
