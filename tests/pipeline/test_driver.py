"""What `status` reports of a driver."""

from __future__ import annotations

import os
import time

from datagen.output.paths import Output
from datagen.pipeline.driver import driver_ended, driver_lines
from datagen.pipeline.progress import RunProgress
from datagen.runners import Task, WorkerStatus


def test_status_names_a_silent_worker(output: Output) -> None:
    with RunProgress(output, "curate", 3, unit="part") as progress:
        progress(Task("curate", "p00000"), {"frames": 1})
        progress.waiting([WorkerStatus("worker 2 on node far", "p00001", 400.0, 90.0)])
        lines = driver_lines(output)
        assert "driver      running curate: " in lines[0]
        assert lines[1:] == [
            "  longest     p00001 for 400 s, worker 2 on node far",
            "  silent      worker 2 on node far has not answered for 90 s, its task is p00001",
        ]
        assert not driver_ended(output)
    assert "finished curate" in driver_lines(output)[0] and len(driver_lines(output)) == 1
    assert not driver_ended(output), "the next stage may follow"
    old = time.time() - 3600
    os.utime(output.status_json, (old, old))
    assert driver_ended(output)


def test_a_driver_on_another_machine_counts_as_dead_without_updates(output: Output) -> None:
    with RunProgress(output, "curate", 3) as progress:
        progress._owner = "elsewhere~1~1"
        progress._save("running")
        assert not driver_ended(output)
        old = time.time() - 3600
        os.utime(output.status_json, (old, old))
        assert driver_ended(output) and "killed?" in driver_lines(output)[0]
