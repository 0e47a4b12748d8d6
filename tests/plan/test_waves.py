"""Waves are cut once, in order, and never overlap."""

from __future__ import annotations

import pyarrow as pa
import pytest

from datagen.common.errors import UserError
from datagen.output.paths import Output
from datagen.plan.waves import cut_waves, read_waves, wave_of


def plan(*sizes: int) -> pa.Table:
    """A plan of parts with so many sources each."""
    return pa.table({"part": [f"p{part:05d}" for part, size in enumerate(sizes) for _ in range(size)]})


def cuts(output: Output) -> list[tuple[int, int]]:
    return [(wave.first, wave.last) for wave in read_waves(output)]


def test_a_wave_holds_as_many_whole_parts_as_fit(output):
    cut_waves(output, plan(2, 2, 2, 2, 2), most=4)
    assert cuts(output) == [(0, 1), (2, 3), (4, 4)]
    assert wave_of(read_waves(output), "p00003-r1").name == "w001"


def test_a_part_larger_than_a_wave_is_a_wave(output):
    cut_waves(output, plan(5, 5), most=3)
    assert cuts(output) == [(0, 0), (1, 1)]


def test_a_limit_cuts_a_small_wave_and_the_rest_follows(output):
    cut_waves(output, plan(2, 2, 2, 2), most=100, limit=3)
    assert cuts(output) == [(0, 1)]
    cut_waves(output, plan(2, 2, 2, 2), most=100, limit=0)
    assert cuts(output) == [(0, 1)]
    cut_waves(output, plan(2, 2, 2, 2, 1), most=100)
    assert cuts(output) == [(0, 1), (2, 4)]


def test_a_wave_cut_by_another_driver_is_kept(output, monkeypatch):
    from datagen.plan import waves

    written = waves.write_bytes

    def slow(data, final, tmp):
        if final.name == "w000.json":
            written(b'{"first": 0, "last": 0}', final, tmp)
        return written(data, final, tmp)

    monkeypatch.setattr(waves, "write_bytes", slow)
    cut_waves(output, plan(1, 1, 1), most=100)
    assert cuts(output) == [(0, 0), (1, 2)]


def test_a_damaged_wave_is_one_error_line(output):
    cut_waves(output, plan(1), most=100)
    (output.waves / "w000.json").write_text("{")
    with pytest.raises(UserError, match=r"w000\.json is missing or damaged"):
        read_waves(output)
