"""One call in a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datagen.errors import Refusal, UserError
from datagen.runners.isolate import Crashed, TimedOut, call_isolated
from datagen.worker import find_killers

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("crash", Crashed, "killed by SIGSEGV"),
        ("exit", Crashed, "exit code 3"),
        ("hang", TimedOut, "took longer than 2 s"),
        ("raise", Crashed, "KeyError"),
        ("refuse", Refusal, "nobody there"),
        ("stop", UserError, "disk is full"),
    ],
)
def test_isolated_calls_report_their_end(
    what: str, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    with pytest.raises(error, match=message) as caught:
        call_isolated("workers:echo", {"do": what}, timeout_s=2 if what == "hang" else None)
    assert isinstance(caught.value, TimedOut) == (what == "hang")
    if isinstance(caught.value, Refusal):
        assert (caught.value.measure, caught.value.value, caught.value.limit) == ("faces", 0.0, 1.0)


def test_isolated_calls_return_what_the_function_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    answer = call_isolated("workers:echo", {"name": "a 'quoted'\nname"})
    assert answer.pop("pid") != os.getpid() and answer == {"name": "a 'quoted'\nname"}


def test_halving_finds_what_kills_and_what_stalls() -> None:
    culprits = {"b": ("crashed", "killed by SIGKILL"), "e": ("timeout", "took longer than 9 s")}
    tried: list[list[str]] = []

    def dies(group: list[str]) -> tuple[str, str] | None:
        tried.append(group)
        return next((culprits[key] for key in group if key in culprits), None)

    assert find_killers(list("abcdefgh"), dies) == culprits
    assert len(tried) < 2 * 8
