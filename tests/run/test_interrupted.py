"""Processes killed in the middle, and drivers that know nothing of each other: the same bytes as an undisturbed run."""

from __future__ import annotations

import pytest

from benchmarks.faults import kill_actor, kill_and_resume, several_drivers
from benchmarks.reference import Reference
from datagen.shards import Dataset

from .conftest import published


@pytest.fixture(scope="module")
def undisturbed(reference, footage, recipe):
    out = reference[0]
    return Reference(footage, recipe, published(out), sorted(Dataset(out).table["clip_id"].to_pylist()), 0.0)


def test_a_driver_killed_while_it_curates(undisturbed, tmp_path):
    _, lost = kill_and_resume(undisturbed, tmp_path / "out", 4.0)
    assert lost == []


def test_an_actor_killed_in_the_middle_of_a_unit(undisturbed, tmp_path):
    killed, lost = kill_actor(undisturbed, tmp_path / "out", 0.2)
    assert killed
    assert lost == []


def test_two_drivers_on_one_output(undisturbed, tmp_path):
    assert several_drivers(undisturbed, tmp_path / "out", 2) == []
