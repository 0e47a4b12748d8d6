"""Clocks of workers: limits, silence, and drivers that were stopped themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datagen.common.owner import owner_id
from datagen.output.paths import Output
from datagen.pipeline.progress import RENEW_S, RunProgress
from datagen.runners import Supervision, Task, WorkerStatus
from datagen.runners.supervise import Watch, append_task_log
from datagen.runners.tasks import ISOLATED_LIMITS


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)

    def run(self, watch: Watch, seconds: float, answers: bool = True) -> list[str]:
        """Look every second, as the runners do; how the worker was lost, if it was."""
        lost = []
        for _ in range(int(seconds)):
            self.now += 1
            if answers:
                watch.answered()
            if loss := watch.check():
                lost.append(f"{loss.reason}: {loss.how}")
        return lost


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_task_may_take_its_limit_and_more_when_isolated(clock: Clock) -> None:
    watch = Watch("worker 1", Task("curate", "p00000", limit_s=100), Supervision())
    assert clock.run(watch, 100) == [] and clock.run(watch, 1) == ["timeout: took longer than 100 s"]
    watch = Watch("worker 1", Task("curate", "p00000", limit_s=100, isolate=True), Supervision())
    assert clock.run(watch, 100 * ISOLATED_LIMITS) == [] and clock.run(watch, 1)
    watch = Watch("worker 1", Task("curate", "p00000"), Supervision())
    assert clock.run(watch, 100_000) == []


def test_silence_is_told_once_and_ends_the_worker(clock: Clock) -> None:
    said: list[str] = []
    watch = Watch("worker 3 on node far", Task("curate", "p00007"), Supervision(say=said.append))
    assert clock.run(watch, 60, answers=False) == [] and not said and not watch.status().silent_s
    assert clock.run(watch, 100, answers=False) == []
    assert said == [
        "worker 3 on node far has not answered for 60 s: it is stopped, or waits for a disk that "
        "does not respond; its task p00007 will be tried again after 300 s"
    ]
    assert watch.status() == WorkerStatus("worker 3 on node far", "p00007", 160.0, 160.0)
    clock.run(watch, 1)
    assert said[1:] == ["worker 3 on node far answers again"] and not watch.status().silent_s
    assert clock.run(watch, 301, answers=False) == ["timeout: did not answer for 300 s"]


def test_a_stopped_driver_does_not_blame_its_workers(clock: Clock) -> None:
    watch = Watch("worker 1", Task("curate", "p00000", limit_s=1000), Supervision())
    clock.run(watch, 50)
    clock.now += 5000
    assert clock.run(watch, 900, answers=False)[:1] == ["timeout: did not answer for 300 s"]
    assert watch.status().busy_s == 949


def test_last_words_are_kept_where_there_is_a_place(tmp_path: Path) -> None:
    task = Task("curate", "p00000")
    append_task_log(None, task, "killed by SIGKILL", "last words")
    for _ in range(2):
        append_task_log(tmp_path / "logs", task, "killed by SIGKILL", "last words")
    text = (tmp_path / "logs" / "tasks" / "curate-p00000.log").read_text()
    assert text.count("curate-p00000: killed by SIGKILL\nlast words\n") == 2
    (tmp_path / "file").touch()
    append_task_log(tmp_path / "file", task, "no folder can be made here", "")


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
