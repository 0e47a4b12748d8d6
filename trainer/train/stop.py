"""A clean stop: after SIGTERM or Ctrl-C the loop finishes its step and saves a checkpoint.

Cluster schedulers send SIGTERM some time before they kill. Workers that Ray started cannot be signalled reliably, so a
request to stop may also be a file in the run's folder.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

REPEAT_S = (
    5.0  # `timeout` and schedulers may send a signal twice; one that comes later ends the process at once
)


class StopRequest:
    """Set by a signal or by a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._since: float | None = None

    def __bool__(self) -> bool:
        return self._since is not None or self._file.exists()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT set the request inside the block; another one some seconds later acts as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread receives signals; launched workers have the file
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def handle(number: int, frame: FrameType | None) -> None:
            if self._since is None:
                self._since = time.monotonic()
            elif time.monotonic() - self._since > REPEAT_S:
                signal.signal(number, before[signal.Signals(number)])
                signal.raise_signal(number)

        for number in before:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
