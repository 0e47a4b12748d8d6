"""Calls in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datagen.common.errors import Refusal, UserError
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
