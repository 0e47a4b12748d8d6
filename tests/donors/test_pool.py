"""Whose turn it is to lend a face: never one's own, in the split of the clip, the next where the pose does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from datagen.common.errors import Refusal
from datagen.donors.donor import Donor
from datagen.donors.pool import Member, Pool
from datagen.recipe import Recipe, load_recipe
from datagen.synthesise import clip as clips
from datagen.synthesise.clip import _swapped

YAWS = {"a": 30.0, "b": -30.0, "c": 10.0, "d": 0.0, "e": 5.0}


def donor(name: str, person: int) -> Donor:
    embedding = np.eye(128, dtype=np.float32)[person]
    return Donor(
        name, np.zeros((2, 2, 3), np.uint8), np.zeros((468, 3)), embedding, name, "CC0", "set", True, 1.0
    )


def pool(splits: str = "ttttt") -> Pool:
    members = [
        Member(donor(name, number), {"t": "train", "v": "val"}[split], f"{name}.mp4", None, name)
        for number, (name, split) in enumerate(zip(YAWS, splits, strict=True))
    ]
    return Pool("w000", "0" * 64, tuple(members))


def row(number: int = 0, **values: Any) -> dict[str, Any]:
    found = {
        "clip_id": f"clip{number}-t0-f0", "rank": number, "split": "train", "source": f"{number}.mp4", "subject": None,
        "person": f"p{number}", "embedding": np.eye(128, dtype=np.float32)[100].tolist(),
    }  # fmt: skip
    return found | values


def offered(pool: Pool, recipe: Recipe, **values: Any) -> list[str]:
    clip = row(**values)
    clip["embedding"] = None if clip["embedding"] is None else np.asarray(clip["embedding"])
    names = ("clip_id", "rank", "split", "embedding", "source", "subject", "person")
    return [found.name for found, _ in pool.choose(*(clip[name] for name in names), recipe)]


def test_turns_go_round_and_nobody_gets_themselves() -> None:
    recipe = Recipe()
    firsts = [offered(pool(), recipe, number=number)[0] for number in range(10)]
    assert sorted(firsts[:5]) == [*YAWS] and firsts[5:] == firsts[:5]
    for own in ({"source": "c.mp4"}, {"person": "c"}, {"embedding": np.eye(128)[2].tolist()}):
        assert sorted(offered(pool(), recipe, **own)) == ["a", "b", "d", "e"]


def test_an_empty_place_changes_nobody_elses_turn() -> None:
    whole = pool()
    emptied = tuple(
        Member(None if number == 1 else member.donor, member.split, member.source, None, member.person)
        for number, member in enumerate(whole.members)
    )
    for number in range(5):
        before = offered(whole, Recipe(), number=number)
        after = offered(Pool("w000", "0" * 64, emptied), Recipe(), number=number)
        assert after == [name for name in before if name != "b"]


def test_faces_stay_in_their_split() -> None:
    assert sorted(offered(pool("ttvvt"), Recipe(), split="val")) == ["c", "d"]
    with pytest.raises(Refusal, match="the pool has none for test clips"):
        offered(pool("ttvvt"), Recipe(), split="test")


def test_a_clip_whose_identity_is_not_known_gets_a_donor_only_when_told() -> None:
    with pytest.raises(Refusal) as caught:
        offered(pool(), Recipe(), embedding=None)
    assert caught.value.reason == "no_donor" and "unknown_identity" in caught.value.hint
    told = load_recipe(None, ["donors.unknown_identity=true"])
    assert len(offered(pool(), told, embedding=None)) == 5


def test_who_looks_alike_is_told_with_the_number() -> None:
    with pytest.raises(Refusal) as caught:
        offered(pool(), load_recipe(None, ["donors.min_distance=1.9"]))
    assert (caught.value.measure, caught.value.limit) == ("donor_to_source", 1.9)
    assert caught.value.value == pytest.approx(2**0.5)


class Picky:
    """A swap that takes only some donors."""

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
    """The yaw of a portrait stands in its first landmark."""
    monkeypatch.setattr(clips, "pose", lambda landmarks: (landmarks[0, 0], 0, 0))


def turned(pool: Pool) -> Pool:
    for member in pool.members:
        assert member.donor is not None
        member.donor.landmarks[0, 0] = YAWS[member.donor.name]
    return pool


class Face:
    pose = np.array([[12.0, 0, 0], [14.0, 0, 0], [np.nan, 0, 0]])


def swap(swapper: Picky, tries: int) -> str:
    recipe = load_recipe(None, [f"donors.tries={tries}"])
    donor, _, _ = _swapped(np.zeros((3, 2, 2, 3)), row(), Face(), recipe, swapper, turned(pool()))  # type: ignore[arg-type]
    return donor.name


def test_where_the_pose_does_not_fit_the_nearest_in_pose_are_tried(poses: None) -> None:
    first = offered(pool(), Recipe())[0]
    by_pose = [name for name in ("c", "e", "d", "a", "b") if name != first]
    last = Picky(by_pose[2])
    assert swap(last, tries=4) == by_pose[2]
    assert last.asked == [first, *by_pose[:3]]


def test_the_first_refusal_is_told_when_all_tries_fail(poses: None) -> None:
    first = offered(pool(), Recipe())[0]
    none = Picky("")
    with pytest.raises(Refusal, match=f"turned away from {first}"):
        swap(none, tries=3)
    assert len(none.asked) == 3
