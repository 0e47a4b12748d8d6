"""One call in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datagen.common.errors import Refusal, UserError
from datagen.pipeline import worker
from datagen.pipeline.worker import Worker, WorkerSettings, find_crashing_items
from datagen.recipe import load_recipe
from datagen.runners import Task
from datagen.runners.isolate import Crashed, TimedOut, call_isolated
from tests.runners.test_local import gone
from tests.runners.workers import echo, unpicklable
from tests.support import ROOT

PARENT = """
import pathlib, sys
from datagen.runners.isolate import call_isolated
from tests.runners.workers import echo
call_isolated(echo, "", pathlib.Path(sys.argv[1]), "spawn")
"""
FROM_STDIN = """
import pathlib
from datagen.runners.isolate import call_isolated
from tests.runners.workers import echo
print("once", flush=True)
print(call_isolated(echo, "hello", pathlib.Path())[1])
"""


@pytest.mark.parametrize(
    ("todo", "error", "message"),
    [
        ("crash", Crashed, "killed by SIGSEGV"),
        ("exit", Crashed, "exit code 3"),
        ("exit well", Crashed, "without an answer"),
        ("hang", TimedOut, "took longer than 2 s"),
        ("raise", Crashed, "KeyError: 'unexpected'"),
        ("refuse", Refusal, "nobody there"),
        ("stop", UserError, "disk is full"),
    ],
)
def test_isolated_calls_report_how_they_end(
    todo: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message) as caught:
        call_isolated(echo, "", tmp_path, todo, timeout_s=2 if todo == "hang" else None)
    assert isinstance(caught.value, TimedOut) == (todo == "hang")
    if isinstance(caught.value, Refusal):
        assert (caught.value.measure, caught.value.value, caught.value.limit) == ("faces", 0.0, 1.0)
    if isinstance(caught.value, UserError):
        assert caught.value.code == 2


def test_isolated_calls_return_what_the_function_returns(capfd: pytest.CaptureFixture[str]) -> None:
    text, path = "a 'quoted'\nname" * 100_000, Path(os.fsdecode(b"not utf-8 \xff"))
    pid, *rest = call_isolated(echo, text, path)
    assert pid != os.getpid() and rest == [text, path]
    printed = capfd.readouterr()
    assert not printed.out and "libraries print to stdout" in printed.err


def test_results_and_functions_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Crashed, match="pickle"):
        call_isolated(unpicklable)
    monkeypatch.setattr(echo, "__module__", "__main__")
    with pytest.raises(ValueError, match="defined in __main__"):
        call_isolated(echo, "", Path())


def test_an_isolated_call_ends_with_everything_it_started_when_its_parent_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path / "pids"], env=environment, cwd=ROOT)
    while not (tmp_path / "pids").exists() or len((tmp_path / "pids").read_text().split()) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    assert all(gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_isolated_calls_from_a_program_without_a_file() -> None:
    """`__main__` is text from stdin: the child must not import it, and a module in the working directory neither."""
    done = subprocess.run(
        [sys.executable, "-"], input=FROM_STDIN, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT,
        text=True, capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == "once\nhello\n"


def test_halving_finds_what_kills_and_what_stalls() -> None:
    culprits = {"b": ("crashed", "killed by SIGKILL"), "e": ("timeout", "took longer than 9 s")}
    tried: list[list[str]] = []

    def dies(group: list[str]) -> tuple[str, str] | None:
        tried.append(group)
        return next((culprits[key] for key in group if key in culprits), None)

    assert find_crashing_items(list("abcdefgh"), dies) == culprits
    assert len(tried) < 2 * 8


def test_items_of_an_isolated_task_are_tried_within_their_share_of_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: dict[int, float | None] = {}

    def call(function: object, settings: WorkerSettings, part: Task, timeout_s: float | None) -> None:
        group = [clip["clip_id"] for clip in part.payload["clips"]]
        limits[len(group)] = timeout_s
        if "c" in group:
            raise TimedOut("took longer than 100 s")
        if "f" in group:
            raise Crashed("killed by SIGKILL")

    monkeypatch.setattr(worker, "call_isolated", call)
    recipe = load_recipe(None, ["limits.task_s=100"])
    made = Worker(WorkerSettings(tmp_path, recipe, "0", None, {}))
    task = Task(
        "synthesise", "p00000-u00", {"clips": [{"clip_id": clip} for clip in "abcdefgh"]}, limit_s=600.0
    )
    assert made._crashing_items(task) == {
        "c": ("timeout", "took longer than 100 s"),
        "f": ("crashed", "killed by SIGKILL"),
    }
    assert limits == {8: 600.0, 4: 300.0, 2: 150.0, 1: 100.0}
