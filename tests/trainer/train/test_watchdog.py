"""When workers count as stopped or hung, with a simulated clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from trainer.train import watchdog
from trainer.train.config import Watching
from trainer.train.watchdog import Activity, ActivityRecorder, Received, Verdict, Watchdog, WorkerHeartbeat

LIMITS = Watching(silent_s=20, still_s=300)


def received(
    *changes: int,
    ages: tuple[float, ...] = (0, 0),
    slowest: float = 1.0,
    activities: tuple[Activity, Activity] = ("training", "waiting for data"),
) -> dict[int, Received]:
    """Heartbeats of two workers."""
    return {
        rank: Received(
            WorkerHeartbeat(1.0, rank, f"process {rank} on there", 7, activities[rank], count, slowest),
            ages[rank],
        )
        for rank, count in enumerate(changes)
    }


def checks(watchdog: Watchdog, seconds: range, **values: Any) -> list[tuple[int, Verdict]]:
    """Verdicts of a check every second, without the empty ones; the workers make no progress."""
    verdicts = [(now, watchdog.check(received(9, 8, **values), float(now))) for now in seconds]
    return [(now, verdict) for now, verdict in verdicts if verdict != Verdict()]


def test_a_worker_without_heartbeat_is_named_and_all_are_killed() -> None:
    seen, said = Watchdog(LIMITS), []
    for now in range(40):
        verdict = seen.check(received(now, 8, ages=(0, max(0, now - 10))), float(now))
        if verdict != Verdict():
            said.append((now, verdict))
        if verdict.end:
            break
    (first, warning), (last, end) = said
    assert (first, warning.end, last, end.end) == (20, False, 30, True)
    assert warning.line is not None and end.line is not None
    assert warning.line.startswith("no heartbeat for 10 s, after step 7, from worker 1 (process 1 on there)")
    assert "after 20 s all workers are killed and started again" in warning.line
    assert end.line.endswith("all workers are killed")


def test_a_stalled_run_names_the_worker_that_is_behind() -> None:
    (first, warning), (last, end) = checks(Watchdog(LIMITS), range(301))
    assert (first, last, warning.end, end.end) == (60, 300, False, True)
    assert warning.line is not None
    assert "no progress for 60 s, after step 7 (slowest step so far 1.0 s)" in warning.line
    assert ": worker 1 (process 1 on there) is waiting for data" in warning.line


def test_slow_steps_and_long_work_have_more_time() -> None:
    assert checks(Watchdog(LIMITS), range(199), slowest=100.0) == []
    assert checks(Watchdog(LIMITS), range(599), activities=("saving", "waiting for data")) == []
    ages = {"ages": (0, 99.0)}
    assert checks(Watchdog(LIMITS), range(200), activities=("starting", "starting"), **ages) == []


def test_progress_after_a_warning_is_reported_once() -> None:
    seen = Watchdog(LIMITS)
    assert len(checks(seen, range(100))) == 1
    assert seen.check(received(10, 10), 100.0) == Verdict("the workers make progress again")
    assert seen.check(received(11, 11), 101.0) == Verdict()


def test_a_watchdog_that_was_itself_stopped_ends_no_worker() -> None:
    """Ctrl-Z stops the command and its children together."""
    seen = Watchdog(LIMITS)
    assert checks(seen, range(5)) == []
    assert checks(seen, range(1000, 1009), ages=(999.0, 999.0)) == []
    assert checks(seen, range(1009, 1021), ages=(999.0, 999.0))[-1][1].end


def test_finished_workers_and_new_attempts_reset_the_watchdog() -> None:
    seen = Watchdog(LIMITS)
    assert len(checks(seen, range(100))) == 1
    assert seen.check({}, 101.0) == Verdict()
    assert checks(seen, range(102, 112)) == []


def test_the_recorder_measures_steps_but_not_long_activities(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: now[0]))
    recorder = ActivityRecorder()
    recorded = []
    work: tuple[tuple[float, Activity, int], ...] = (
        (0, "waiting for data", 4),
        (50, "training", 4),  # the first step compiles
        (900, "saving", 5),
        (990, "waiting for data", 5),
        (991, "training", 5),
        (993, "waiting for data", 6),
        (995, "validating", 7),
        (2000, "waiting for data", 7),
        (2001, "waiting for data", 8),
    )
    for at, activity, step in work:
        now[0] = at
        recorder.record(activity, step)
        recorded.append((recorder.heartbeat.activity, recorder.heartbeat.slowest_s))
    assert recorded[:3] == [("starting", 0), ("starting", 0), ("saving", 0)]
    assert recorded[3:] == [
        ("waiting for data", 0),
        ("training", 0),
        ("waiting for data", 3),
        ("validating", 3),
        ("waiting for data", 3),
        ("waiting for data", 3),
    ]
    assert recorder.heartbeat.changes == len(work)
