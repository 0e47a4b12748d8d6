"""The local runner: a child that crashes, hangs or does not answer fails only its task."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from datagen.common.errors import UserError
from datagen.runners import Supervision, run_local
from tests.runners.workers import Broken, Dying, HangingHeartbeat, Reports, Toy, tasks
from tests.support import ROOT, environment

DRIVER = """
import pathlib, sys
from datagen.runners import run_local
from tests.runners.workers import Reports, Toy, tasks
run_local(Toy(pathlib.Path(sys.argv[1])), tasks("work", "spawn"), Reports())
"""


def quick(folder: Path, said: list[str] | None = None) -> Supervision:
    """Checks workers every tenth of a second and gives up a silent one after a second."""
    say = print if said is None else said.append
    return Supervision(say=say, logs=folder / "logs", ping_s=0.1, silent_s=0.5, lost_s=1.0)


def test_every_task_is_reported_by_one_child(tmp_path: Path) -> None:
    reports, toy = Reports(), Toy(tmp_path)
    run_local(toy, iter(tasks("work", "raise", "raise once", "refuse")), reports)
    assert reports["u0"]["clips"] == 1
    assert reports["u1"]["reason"] == "internal" and toy.attempts("u1") == 2
    assert reports["u2"]["clips"] == 1
    assert reports["u3"] == {"reason": "no_face", "message": "nobody there"}
    (child,) = {line.split()[0] for path in tmp_path.glob("*.attempts") for line in path.open()}
    assert int(child) != os.getpid() and not psutil.pid_exists(int(child))


def test_a_user_error_ends_the_run(tmp_path: Path) -> None:
    reports = Reports()
    with pytest.raises(UserError, match="disk is full"):
        run_local(Toy(tmp_path), tasks("work", "stop", "work"), reports)
    assert list(reports) == ["u0"]


@pytest.mark.parametrize(
    ("factory", "message"),
    [(Broken(), "model file is missing"), (Dying(), "lost each time: killed by SIGKILL, killed by SIGKILL")],
)
def test_a_worker_that_cannot_start_ends_the_run(factory: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run_local(factory, tasks("work"), Reports())  # type: ignore[arg-type]


def test_no_tasks_start_no_child() -> None:
    def factory() -> None:
        raise AssertionError

    run_local(factory, [], Reports())  # type: ignore[arg-type]


def test_a_task_that_kills_its_process_is_isolated_in_the_same_run(tmp_path: Path) -> None:
    reports, toy = Reports(), Toy(tmp_path)
    run_local(toy, tasks("work", "kill", "work", "die always"), reports, supervision=quick(tmp_path))
    assert reports["u1"]["isolated"] == 1 and toy.attempts("u1") == 3
    assert reports["u2"]["clips"] == 1 and toy.attempts("u2") == 1
    assert reports["u3"]["reason"] == "crashed" and toy.attempts("u3") == 4
    log = (tmp_path / "logs" / "tasks" / "synthesise-u1.log").read_text()
    assert log.count("killed by SIGKILL\nabout to kill\n") == 2


def test_a_task_over_its_limit_is_isolated_and_its_stack_is_kept(tmp_path: Path) -> None:
    reports, toy = Reports(), Toy(tmp_path)
    run_local(toy, tasks("hang", limit_s=1.0), reports, supervision=quick(tmp_path))
    assert reports["u0"]["isolated"] == 1 and toy.attempts("u0") == 3
    log = (tmp_path / "logs" / "tasks" / "synthesise-u0.log").read_text()
    assert log.count("took longer than 1 s") == 2 and "in run" in log


def test_a_task_over_its_limit_also_when_isolated_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datagen.runners.tasks.ISOLATED_LIMITS", 1)
    reports = Reports()
    run_local(Toy(tmp_path), tasks("hang always", "work", limit_s=0.5), reports, supervision=quick(tmp_path))
    assert reports["u0"] == {
        "reason": "timeout",
        "message": "the task took longer than 0.5 s, also when isolated",
    }
    assert reports["u1"]["clips"] == 1


def test_a_stopped_child_is_reported_and_replaced(tmp_path: Path) -> None:
    said: list[str] = []
    reports, toy = Reports(), Toy(tmp_path)
    run_local(toy, tasks("freeze once", "work"), reports, supervision=quick(tmp_path, said))
    assert reports["u0"]["clips"] == 1 and reports["u1"]["clips"] == 1 and toy.attempts("u0") == 2
    assert (
        len(said) == 1
        and "has not answered for 0.5 s" in said[0]
        and "u0 will be tried again after 1 s" in said[0]
    )
    (pid, _), _ = (line.split() for line in (tmp_path / "u0.attempts").read_text().splitlines())
    assert not psutil.pid_exists(int(pid))


def test_a_disk_that_does_not_answer_counts_as_silence(tmp_path: Path) -> None:
    said: list[str] = []
    supervision = Supervision(
        say=said.append, heartbeat=HangingHeartbeat(tmp_path), ping_s=0.1, silent_s=0.5, lost_s=1.0, logs=None
    )
    reports = Reports()
    run_local(Toy(tmp_path), tasks("slow once"), reports, supervision=supervision)
    assert reports["u0"]["clips"] == 1 and "waits for a disk" in said[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_driver_and_child_with_what_it_started(tmp_path: Path, number: signal.Signals) -> None:
    driver, child, grandchild = started(tmp_path)
    driver.send_signal(number)
    assert driver.wait(10) != 0
    assert all(gone(pid) for pid in (child, grandchild))


def test_the_child_ends_with_a_killed_driver(tmp_path: Path) -> None:
    driver, child, grandchild = started(tmp_path)
    driver.kill()
    driver.wait()
    assert all(gone(pid) for pid in (child, grandchild))


def test_a_local_run_works_in_a_thread(tmp_path: Path) -> None:
    reports = Reports()
    thread = threading.Thread(target=run_local, args=(Toy(tmp_path), tasks("work"), reports))
    thread.start()
    thread.join()
    assert reports["u0"]["clips"] == 1


def started(folder: Path) -> tuple[subprocess.Popen[bytes], int, int]:
    """A driver whose child works on a task and has started a program."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, folder],
        env=environment(),
        cwd=ROOT,
        # a shell starts background jobs, such as these tests, with SIGINT ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    pids = folder / "pids"
    while not pids.exists() or len(pids.read_text().split()) < 2:
        assert driver.poll() is None
        time.sleep(0.05)
    child, grandchild = map(int, pids.read_text().split())
    return driver, child, grandchild


def gone(pid: int) -> bool:
    """Whether a process ends within a few seconds."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:  # in some containers nothing reaps orphans
            return True
        process.wait(10)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True
