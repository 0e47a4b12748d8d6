"""When watching a driver ends, and the message then."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from datagen.output.paths import Output
from datagen.pipeline import status
from datagen.pipeline.driver import driver_ended, driver_lines
from datagen.pipeline.progress import RunProgress
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
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watches without waiting, and describes no plan."""
    monkeypatch.setattr(status, "WATCH_S", 0.0)
    monkeypatch.setattr(status, "describe", lambda output: "\n".join(driver_lines(output)))


def test_watching_ends_without_a_driver(output: Output, quick: None) -> None:
    assert driver_lines(output) == [] and driver_ended(output)
    status.watch_status(output, lambda text: None)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_watching_ends_with_a_stopped_driver(output: Output, quick: None, error: type[BaseException]) -> None:
    with pytest.raises(error), RunProgress(output, "curate", 3):
        raise error
    status.watch_status(output, lambda text: None)


def test_watching_ends_with_a_killed_driver(output: Output, quick: None) -> None:
    subprocess.run([sys.executable, "-c", KILLED, output.root], env=environment(), check=False)
    said: list[str] = []
    status.watch_status(output, said.append)
    assert len(said) == 1 and "stopped unexpectedly (killed?): synthesise: 0/3" in said[0]


@pytest.mark.parametrize(
    "content", [b"[]", b"", b"{}", b"\xff\xfe", b'{"state": 3}', b'{"state": "running"}', b"nul"]
)
def test_a_damaged_status_file_is_one_line(output: Output, quick: None, content: Any) -> None:
    output.status_json.write_bytes(content)
    said: list[str] = []
    status.watch_status(output, said.append)
    assert len(said) == 1 and "status.json is damaged" in said[0]
