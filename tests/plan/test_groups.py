"""Clips that belong together get one split."""

from __future__ import annotations

import numpy as np
import pytest

from datagen.output.ids import key_hash
from datagen.plan.groups import CONFLICT, divide_portraits, group_clips
from datagen.recipe import Split

SHARES = Split(val=0.3, test=0.3)
people = {name: np.eye(128, dtype=np.float32)[number] for number, name in enumerate("abcdefghijklmnop")}


def clip(number, source=None, person=None, **values):
    source = source or f"{number}.mp4"
    row = dict.fromkeys(("subject", "group", "source_sha256", "embedding", "frame_hashes"))
    row |= {"clip_id": f"clip{number:03d}-t0-f0", "source": source, "source_key": source, "dataset": "set"}
    if person is not None:
        row["embedding"] = people[person]
    return row | values


def splits(clips, earlier=()):
    return [group.split for group in group_clips(clips, list(earlier), SHARES, 7)]


def test_every_split_occurs_among_many_people():
    found = splits([clip(number) for number in range(60)])
    assert set(found) == {"train", "val", "test"}
    assert found == splits([clip(number) for number in range(60)])


@pytest.mark.parametrize(
    "shared",
    [
        {"source": "one.mp4"},
        {"subject": "id1"},
        {"group": "video 1"},
        {"source_sha256": "ab"},
        {"person": "a"},
        {"frame_hashes": np.array([2**60 + 7, 2**50 + 3, 2**40 + 1, 2**30 + 9], np.uint64)},
    ],
)
def test_clips_that_share_something_are_joined(shared):
    clips = [clip(number, **shared) for number in range(8)] + [clip(number) for number in range(8, 40)]
    groups = group_clips(clips, [], SHARES, 7)
    assert len({group.component for group in groups[:8]}) == 1
    assert len({group.split for group in groups[:8]}) == 1
    assert len({group.component for group in groups}) == 33


def test_chains_of_links_join_and_a_person_has_one_name():
    clips = [
        clip(0, person="a"),
        clip(1, source="x.mp4", person="a"),
        clip(2, source="x.mp4", person="b"),
        clip(3, person="b", subject="id7"),
        clip(4, subject="id7"),
        clip(5, person="c"),
    ]
    groups = group_clips(clips, [], SHARES, 7)
    assert len({group.component for group in groups[:5]}) == 1
    assert [group.person for group in groups[:2]] == [groups[0].person] * 2
    assert groups[2].person == groups[3].person == groups[4].person != groups[0].person
    assert groups[5].component != groups[0].component


def test_copies_name_the_first_source():
    hashes = np.array([2**60 + 7, 2**50 + 3, 2**40 + 1, 2**30 + 9], np.uint64)
    clips = [clip(0), clip(1, frame_hashes=hashes), clip(2, frame_hashes=hashes ^ np.uint64(1))]
    groups = group_clips(clips, [], SHARES, 7)
    assert [group.duplicate_of for group in groups] == [None, None, key_hash("1.mp4")]


def test_equal_files_are_copies_of_any_length():
    first = [clip(0, source_sha256="a"), clip(1, source_sha256="b"), clip(2, source_sha256="a")]
    groups = group_clips(first, [], SHARES, 0)
    assert [group.duplicate_of for group in groups] == [None, None, key_hash("0.mp4")]
    settled = [{**row, **vars(group)} for row, group in zip(first, groups, strict=True)]
    (later,) = group_clips([clip(3, source="-.mp4", source_sha256="b")], settled, SHARES, 0)
    assert (later.duplicate_of, later.split) == (key_hash("1.mp4"), groups[1].split)


def test_a_later_wave_takes_the_split_of_what_it_belongs_with():
    first = [clip(number, person=name) for number, name in enumerate("abcdefgh")]
    groups = group_clips(first, [], SHARES, 7)
    earlier = [{**row, **vars(group)} for row, group in zip(first, groups, strict=True)]
    later = [clip(100 + number, person=name) for number, name in enumerate("abcdefgh")]
    again = group_clips(later, earlier, SHARES, 7)
    assert [group.split for group in again] == [group.split for group in groups]
    assert [group.person for group in again] == [group.person for group in groups]
    assert len(set(splits(first))) > 1


def test_a_clip_that_touches_two_splits_is_a_conflict():
    earlier = [
        {**clip(0, person="a"), "person": "A", "component": "A", "split": "train"},
        {**clip(1, person="b"), "person": "B", "component": "B", "split": "val"},
    ]
    later = [clip(2, source="new.mp4", person="a"), clip(3, source="new.mp4", person="b"), clip(4)]
    assert splits(later, earlier)[:2] == [CONFLICT, CONFLICT]
    assert splits(later, earlier)[2] != CONFLICT


def test_portraits_are_divided_like_the_clips_and_training_keeps_one():
    many = [f"{number:064x}" for number in range(40)]
    found = divide_portraits(many, {"train": 100}, Split(val=0.1, test=0.1), 3)
    assert sorted(found.values()).count("val") == sorted(found.values()).count("test") == 4
    few = divide_portraits(many[:3], {"train": 10, "val": 1}, Split(), 3)
    assert sorted(few.values()) == ["train", "train", "val"]
    assert divide_portraits(many[:1], {"train": 10, "val": 1}, Split(), 3) == {many[0]: "train"}


def test_a_conflict_does_not_hide_the_splits_of_earlier_clips():
    first, second = {"component": "a", "split": "train"}, {"component": "b", "split": "test"}
    earlier = [
        clip(0, person="a") | first | {"person": "pa"},
        clip(1, person="b") | second | {"person": "pb"},
        clip(2, source="both.mp4", person="a") | first | {"person": "pa", "split": CONFLICT},
    ]
    assert (
        splits([clip(3, source="x.mp4", person="a"), clip(4, source="x.mp4", person="b")], earlier)
        == [CONFLICT] * 2
    )
    assert splits([clip(5, person="a")], earlier) == ["train"]


def test_a_clip_that_joins_two_earlier_people_belongs_with_both():
    for seed in range(20):
        first = [clip(0, person="a"), clip(1, subject="id7")]
        groups = group_clips(first, [], SHARES, seed)
        earlier = [{**row, **vars(group)} for row, group in zip(first, groups, strict=True)]
        later = group_clips([clip(2, person="a", subject="id7")], earlier, SHARES, seed)[0]
        splits_before = {group.split for group in groups}
        assert later.split == (splits_before.pop() if len(splits_before) == 1 else CONFLICT)
