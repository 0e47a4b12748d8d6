"""Time limits of workers: tasks, missing heartbeats, and drivers that were stopped themselves."""

from __future__ import annotations

from pathlib import Path

from datagen.runners import Supervision, Task, WorkerStatus
from datagen.runners.supervise import Watch, append_task_log
from datagen.runners.tasks import ISOLATED_LIMITS
from tests.runners.clock import Clock


def test_a_task_has_its_time_limit_and_more_when_isolated(clock: Clock) -> None:
    watch = Watch("worker 1", Task("curate", "p00000", limit_s=100), Supervision())
    assert clock.run(watch, 100) == [] and clock.run(watch, 1) == ["timeout: took longer than 100 s"]
    watch = Watch("worker 1", Task("curate", "p00000", limit_s=100, isolate=True), Supervision())
    assert clock.run(watch, 100 * ISOLATED_LIMITS) == [] and clock.run(watch, 1)
    watch = Watch("worker 1", Task("curate", "p00000"), Supervision())
    assert clock.run(watch, 100_000) == []


def test_silence_is_reported_once_and_ends_the_worker(clock: Clock) -> None:
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


def test_time_in_which_the_driver_was_stopped_does_not_count_against_workers(clock: Clock) -> None:
    watch = Watch("worker 1", Task("curate", "p00000", limit_s=1000), Supervision())
    clock.run(watch, 50)
    clock.now += 5000
    assert clock.run(watch, 900, answers=False)[:1] == ["timeout: did not answer for 300 s"]
    assert watch.status().busy_s == 949


def test_last_output_of_a_worker_is_written_to_its_log(tmp_path: Path) -> None:
    task = Task("curate", "p00000")
    append_task_log(None, task, "killed by SIGKILL", "last words")
    for _ in range(2):
        append_task_log(tmp_path / "logs", task, "killed by SIGKILL", "last words")
    text = (tmp_path / "logs" / "tasks" / "curate-p00000.log").read_text()
    assert text.count("curate-p00000: killed by SIGKILL\nlast words\n") == 2
    (tmp_path / "file").touch()
    append_task_log(tmp_path / "file", task, "no folder can be made here", "")
