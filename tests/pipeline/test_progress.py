"""The progress of a run and its status file."""

from __future__ import annotations

import json
from pathlib import Path

from datagen.common.owner import owner_id
from datagen.output.paths import Output
from datagen.pipeline.progress import RENEW_S, RunProgress
from datagen.runners import Task, WorkerStatus
from tests.runners.clock import Clock


def test_progress_adds_up_and_keeps_status(tmp_path: Path) -> None:
    output = Output(tmp_path)
    output.create()
    with RunProgress(output, "synthesise", total=5, done=2) as progress:
        progress(Task("synthesise", "a"), {"clips": 2, "failed": 1, "seconds": {"swap": 1.5, "encode": 1}})
        progress(Task("synthesise", "b"), {"clips": 3, "seconds": {"swap": 0.5}, "worker": "ignored"})
        progress(Task("synthesise", "c"), {"reason": "internal", "message": "oh"})
        assert json.loads(output.status_json.read_bytes())["state"] == "running"
    status = json.loads(output.status_json.read_bytes())
    assert status["state"] == "finished" and status["done"] == 5 and status["tasks_failed"] == 1
    assert status["clips"] == 5 and status["failed"] == 1 and status["owner"] == owner_id()
    assert status["seconds"] == {"swap": 2.0, "encode": 1.0}
    assert progress.failures[0][0].name == "c" and not list(output.tmp.iterdir())


def test_status_is_renewed_while_no_task_ends(tmp_path: Path, clock: Clock) -> None:
    output = Output(tmp_path)
    output.create()
    with RunProgress(output, "curate", total=5) as progress:
        output.status_json.unlink()
        progress.waiting([WorkerStatus("worker 1", "p00000", 3.0, 0.0)])
        assert not output.status_json.exists()
        progress.waiting([WorkerStatus("worker 1", "p00000", 70.0, 61.0)])
        status = json.loads(output.status_json.read_bytes())
        assert status["silent"][0]["worker"] == "worker 1" and status["longest"]["task"] == "p00000"
        output.status_json.unlink()
        clock.now += RENEW_S
        progress.waiting([WorkerStatus("worker 1", "p00000", 80.0, 71.0)])
        assert output.status_json.exists()
    assert json.loads(output.status_json.read_bytes())["silent"] == []
