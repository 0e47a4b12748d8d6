"""Killed runs and parallel drivers give the same bytes as one run."""

from __future__ import annotations

from pathlib import Path

from tests.reference_run import ReferenceRun, kill_actor, kill_and_resume, run_at_once


def test_driver_killed_during_curation(tiny_run: ReferenceRun, tmp_path: Path) -> None:
    _, differences = kill_and_resume(tiny_run, tmp_path / "out", 4.0)
    assert differences == []


def test_actor_killed_in_the_middle_of_a_unit(tiny_run: ReferenceRun, tmp_path: Path) -> None:
    killed, differences = kill_actor(tiny_run, tmp_path / "out", 0.2)
    assert killed
    assert differences == []


def test_two_drivers_on_one_output(tiny_run: ReferenceRun, tmp_path: Path) -> None:
    assert run_at_once(tiny_run, tmp_path / "out", 2) == []
