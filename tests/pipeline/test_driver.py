"""What `status` says of a driver, and when watching it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from datagen.output.paths import Output
from datagen.pipeline import status
from datagen.pipeline.driver import driver_ended, driver_lines
from datagen.pipeline.progress import RunProgress
from datagen.runners import Task, WorkerStatus
from tests.support import environment

KILLED = """
import os, pathlib, signal, sys
from datagen.output.paths import Output
from datagen.pipeline.progress import RunProgress
out = Output(pathlib.Path(sys.argv[1]))
with RunProgress(out, "synthesise", 3):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def out(tmp_path: Path) -> Output:
    made = Output(tmp_path / "out")
    made.create()
    return made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks without waiting, and no plan to describe."""
    monkeypatch.setattr(status, "WATCH_S", 0.0)
    monkeypatch.setattr(status, "describe", lambda out: "\n".join(driver_lines(out)))


def test_no_driver_yet(out: Output, quick: None) -> None:
    assert driver_lines(out) == [] and driver_ended(out)
    status.watch_status(out, lambda text: None)


def test_a_living_driver_with_a_silent_worker(out: Output) -> None:
    with RunProgress(out, "curate", 3, unit="part") as progress:
        progress(Task("curate", "p00000"), {"frames": 1})
        progress.waiting([WorkerStatus("worker 2 on node far", "p00001", 400.0, 90.0)])
        lines = driver_lines(out)
        assert "driver      running curate: " in lines[0]
        assert lines[1:] == [
            "  longest     p00001 for 400 s, worker 2 on node far",
            "  silent      worker 2 on node far has not answered for 90 s, its task is p00001",
        ]
        assert not driver_ended(out)
    assert "finished curate" in driver_lines(out)[0] and len(driver_lines(out)) == 1
    assert not driver_ended(out), "the next stage may follow"
    old = time.time() - 3600
    os.utime(out.status_json, (old, old))
    assert driver_ended(out)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_driver_that_stopped(out: Output, quick: None, error: type[BaseException]) -> None:
    with pytest.raises(error), RunProgress(out, "curate", 3):
        raise error
    status.watch_status(out, lambda text: None)


def test_a_killed_driver(out: Output, quick: None) -> None:
    subprocess.run([sys.executable, "-c", KILLED, out.root], env=environment(), check=False)
    said: list[str] = []
    status.watch_status(out, said.append)
    assert len(said) == 1 and "stopped without a word (killed?): synthesise: 0/3" in said[0]


def test_a_driver_elsewhere_is_dead_when_it_renews_nothing(out: Output) -> None:
    with RunProgress(out, "curate", 3) as progress:
        progress._owner = "elsewhere~1~1"
        progress._save("running")
        assert not driver_ended(out)
        old = time.time() - 3600
        os.utime(out.status_json, (old, old))
        assert driver_ended(out) and "killed?" in driver_lines(out)[0]


@pytest.mark.parametrize(
    "content", [b"[]", b"", b"{}", b"\xff\xfe", b'{"state": 3}', b'{"state": "running"}', b"nul"]
)
def test_a_damaged_status_file_is_one_line(out: Output, quick: None, content: Any) -> None:
    out.status_json.write_bytes(content)
    said: list[str] = []
    status.watch_status(out, said.append)
    assert len(said) == 1 and "status.json is damaged" in said[0]
