"""The choice of donors: never the person of the clip, only donors of its split."""

from __future__ import annotations

import numpy as np
import pytest

from datagen.common.errors import Refusal
from datagen.donors.pool import Pool, PoolMember
from datagen.recipe import Recipe, load_recipe
from tests.donors.made import YAWS, offered, pool


def test_donors_take_turns_and_nobody_gets_their_own_face() -> None:
    recipe = Recipe()
    firsts = [offered(pool(), recipe, number=number)[0] for number in range(10)]
    assert sorted(firsts[:5]) == [*YAWS] and firsts[5:] == firsts[:5]
    for own in ({"source": "c.mp4"}, {"person": "c"}, {"embedding": np.eye(128)[2].tolist()}):
        assert sorted(offered(pool(), recipe, **own)) == ["a", "b", "d", "e"]


def test_a_withdrawn_donor_changes_no_other_choice() -> None:
    whole = pool()
    emptied = tuple(
        PoolMember(None if number == 1 else member.donor, member.split, member.source, None, member.person)
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


def test_a_clip_of_unknown_identity_gets_a_donor_only_if_the_recipe_allows() -> None:
    with pytest.raises(Refusal) as caught:
        offered(pool(), Recipe(), embedding=None)
    assert caught.value.reason == "no_donor" and "unknown_identity" in caught.value.hint
    told = load_recipe(None, ["donors.unknown_identity=true"])
    assert len(offered(pool(), told, embedding=None)) == 5


def test_a_donor_too_similar_is_refused_with_the_distance() -> None:
    with pytest.raises(Refusal) as caught:
        offered(pool(), load_recipe(None, ["donors.min_distance=1.9"]))
    assert (caught.value.measure, caught.value.limit) == ("donor_to_source", 1.9)
    assert caught.value.value == pytest.approx(2**0.5)
