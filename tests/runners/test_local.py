"""The local runner, crash markers, isolation and progress."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from datagen.errors import Refusal, UserError
from datagen.layout import Output
from datagen.runners import Task, run_local
from datagen.runners.isolate import Crashed, call_isolated
from datagen.runners.progress import Progress

from .workers import Reports, Toy, tasks

HERE = Path(__file__).parent
CHILD = """
import sys, pathlib
from workers import Reports, Toy, tasks
from datagen.runners import run_local
folder = pathlib.Path(sys.argv[1])
run_local(Toy(folder), tasks("work", "kill", "work"), Reports(), logs=folder)
"""


def test_every_task_ends_in_a_report(tmp_path: Path) -> None:
    reports, toy = Reports(), Toy(tmp_path)
    run_local(toy, iter(tasks("work", "raise", "raise once", "refuse")), reports, logs=tmp_path)
    assert reports["u0"]["clips"] == 1
    assert reports["u1"]["reason"] == "internal" and toy.attempts("u1") == 2
    assert reports["u2"]["clips"] == 1
    assert reports["u3"] == {"reason": "no_face", "message": "nobody there"}
    assert not list((tmp_path / "running").iterdir())


def test_what_the_user_must_mend_ends_the_run(tmp_path: Path) -> None:
    reports = Reports()
    with pytest.raises(UserError, match="disk is full"):
        run_local(Toy(tmp_path), tasks("work", "stop", "work"), reports)
    assert list(reports) == ["u0"]


def test_no_tasks_load_no_models() -> None:
    def factory() -> None:
        raise AssertionError

    run_local(factory, [], Reports())  # type: ignore[arg-type]


def test_a_task_that_killed_the_process_twice_is_isolated(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    for loss in (1, 2):
        died = subprocess.run([sys.executable, "-c", CHILD, tmp_path], env=_environment(), check=False)
        assert died.returncode == -signal.SIGKILL and toy.attempts("u1") == loss and toy.attempts("u2") == 0
    subprocess.run([sys.executable, "-c", CHILD, tmp_path], env=_environment(), check=True)
    assert (tmp_path / "u1.attempts").read_text().splitlines()[-1].endswith("True")
    assert toy.attempts("u2") == 1 and not list((tmp_path / "running").iterdir())


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("crash", Crashed, "killed by SIGSEGV"),
        ("exit", Crashed, "exit code 3"),
        ("hang", Crashed, "stopped after 2 s"),
        ("raise", Crashed, "KeyError"),
        ("refuse", Refusal, "nobody there"),
        ("stop", UserError, "disk is full"),
    ],
)
def test_isolated_calls_report_their_end(
    what: str, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    with pytest.raises(error, match=message):
        call_isolated("workers:echo", {"do": what}, timeout_s=2 if what == "hang" else None)


def test_isolated_calls_return_what_the_function_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    answer = call_isolated("workers:echo", {"name": "a 'quoted'\nname"})
    assert answer.pop("pid") != os.getpid() and answer == {"name": "a 'quoted'\nname"}


def test_progress_adds_up_and_keeps_status(tmp_path: Path) -> None:
    output = Output(tmp_path)
    output.create()
    with Progress(output, "synthesise", total=5, done=2) as progress:
        progress(Task("synthesise", "a"), {"clips": 2, "failed": 1, "seconds": {"swap": 1.5, "encode": 1}})
        progress(Task("synthesise", "b"), {"clips": 3, "seconds": {"swap": 0.5}, "worker": "ignored"})
        progress(Task("synthesise", "c"), {"reason": "internal", "message": "oh"})
        assert json.loads(output.status_json.read_bytes())["state"] == "running"
    status = json.loads(output.status_json.read_bytes())
    assert status["state"] == "finished" and status["done"] == 5 and status["tasks_failed"] == 1
    assert status["clips"] == 5 and status["failed"] == 1
    assert status["seconds"] == {"swap": 2.0, "encode": 1.0}
    assert progress.failures[0][0].name == "c" and not list(output.tmp.iterdir())


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
