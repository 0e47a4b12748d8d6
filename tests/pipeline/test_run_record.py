"""The run record: what may change when a run is continued, and what every node must have."""

from __future__ import annotations

import pytest

from datagen.common.errors import UserError
from datagen.output.paths import Output
from datagen.pipeline import run_record as record
from datagen.pipeline.run_record import RunInputs, expected_fingerprint, fingerprint, start
from datagen.recipe import load_recipe


def inputs(*assignments: str) -> RunInputs:
    return RunInputs(load_recipe(None, list(assignments)), {"model": "1"}, None, None)


def test_limits_may_change_when_a_run_is_continued(output: Output) -> None:
    assert start(output, inputs("limits.task_s=1")) == []
    assert start(output, inputs("limits.task_s=9000", "limits.frame_s=7")) == []
    with pytest.raises(UserError) as caught:
        start(output, inputs("limits.task_s=9000", "seed=3"))
    assert "seed was 0, now 3" in str(caught.value) and "limits." not in str(caught.value)


def test_nodes_must_have_the_software_of_the_driver_and_may_have_another_processor(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "_processor", lambda: {"machine": "x86_64", "cpu_features": "avx2"})
    start(output, inputs())
    own = fingerprint(None)
    assert {"megactor-datagen", "numpy", "onnxruntime", "opencv-python", "decord", "ffmpeg_sha256"} < {
        *own.must
    }
    assert not {"torch", "diffusers", "insightface"} & {*own.must}, "a node with the base install may work"
    assert expected_fingerprint(output, inputs()) == own
    monkeypatch.setattr(record, "_processor", lambda: {"machine": "x86_64", "cpu_features": "avx512f"})
    monkeypatch.setattr(record, "_versions", lambda: {"numpy": "0.1"})
    expected = expected_fingerprint(output, inputs())
    assert expected.may["cpu_features"] == "avx2", "that of the machine that began the output"
    assert expected.must["numpy"] == "0.1", "a driver with other software was warned of it"
    assert any("cpu_features was avx2" in line for line in start(output, inputs()))
