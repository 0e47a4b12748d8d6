"""When workers count as stopped or hung, on a clock of the test's own."""

from __future__ import annotations

import pytest

from trainer.train import watch
from trainer.train.config import Watching
from trainer.train.watch import Doing, Heard, Pulse, Sign, Verdict, Watch

LIMITS = Watching(silent_s=20, still_s=300)


def heard(
    *marks: int, ages: tuple[float, ...] = (0, 0), slowest: float = 1.0, **values: object
) -> dict[int, Heard]:
    """Two workers."""
    doing: tuple[Doing, Doing] = values.pop("doing", ("training", "waiting for data"))  # type: ignore[assignment]
    return {
        rank: Heard(Sign(1.0, rank, f"process {rank} on there", 7, doing[rank], mark, slowest), ages[rank])
        for rank, mark in enumerate(marks)
    }


def looks(seen: Watch, seconds: range, **values: object) -> list[tuple[int, Verdict]]:
    """What a look every second says, where it says something; no marks move."""
    verdicts = [(now, seen.look(heard(9, 8, **values), float(now))) for now in seconds]  # type: ignore[arg-type]
    return [(now, verdict) for now, verdict in verdicts if verdict != Verdict()]


def test_a_worker_without_a_sign_is_named_and_all_are_ended() -> None:
    seen, said = Watch(LIMITS), []
    for now in range(40):
        verdict = seen.look(heard(now, 8, ages=(0, max(0, now - 10))), float(now))
        if verdict != Verdict():
            said.append((now, verdict))
        if verdict.end:
            break
    (first, worry), (last, end) = said
    assert (first, worry.end, last, end.end) == (20, False, 30, True)
    assert worry.line is not None and end.line is not None
    assert worry.line.startswith("no sign of life for 10 s, after step 7, of worker 1 (process 1 on there)")
    assert "after 20 s all workers are ended and started again" in worry.line
    assert end.line.endswith("all workers are ended")


def test_a_standstill_names_the_worker_that_is_behind() -> None:
    (first, worry), (last, end) = looks(Watch(LIMITS), range(301))
    assert (first, last, worry.end, end.end) == (60, 300, False, True)
    assert worry.line is not None
    assert "no progress for 60 s, after step 7 (slowest step so far 1.0 s)" in worry.line
    assert ": worker 1 (process 1 on there) is waiting for data" in worry.line


def test_slow_steps_and_long_work_have_more_time() -> None:
    assert looks(Watch(LIMITS), range(199), slowest=100.0) == []
    assert looks(Watch(LIMITS), range(599), doing=("saving", "waiting for data")) == []
    ages = {"ages": (0, 99.0)}
    assert looks(Watch(LIMITS), range(200), doing=("starting", "starting"), **ages) == []


def test_going_on_after_a_worry_is_said_once() -> None:
    seen = Watch(LIMITS)
    assert len(looks(seen, range(100))) == 1
    assert seen.look(heard(10, 10), 100.0) == Verdict("the workers go on")
    assert seen.look(heard(11, 11), 101.0) == Verdict()


def test_who_was_stopped_itself_judges_nobody() -> None:
    """As with Ctrl-Z, which stops the command and what it started alike."""
    seen = Watch(LIMITS)
    assert looks(seen, range(5)) == []
    assert looks(seen, range(1000, 1009), ages=(999.0, 999.0)) == []
    assert looks(seen, range(1009, 1021), ages=(999.0, 999.0))[-1][1].end


def test_finished_workers_and_new_attempts_begin_from_nothing() -> None:
    seen = Watch(LIMITS)
    assert len(looks(seen, range(100))) == 1
    assert seen.look({}, 101.0) == Verdict()
    assert looks(seen, range(102, 112)) == []


def test_a_pulse_measures_steps_but_not_what_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    pulse = Pulse()
    signs = []
    work: tuple[tuple[float, Doing, int], ...] = (
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
    for at, doing, step in work:
        now[0] = at
        pulse.at(doing, step)
        signs.append((pulse.sign.doing, pulse.sign.slowest_s))
    assert signs[:3] == [("starting", 0), ("starting", 0), ("saving", 0)]
    assert signs[3:] == [
        ("waiting for data", 0),
        ("training", 0),
        ("waiting for data", 3),
        ("validating", 3),
        ("waiting for data", 3),
        ("waiting for data", 3),
    ]
    assert pulse.sign.marks == len(work)
