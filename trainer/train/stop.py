"""A clean end: SIGTERM and Ctrl-C become a request that the loop answers after its step, with a checkpoint.

Schedulers of clusters send SIGTERM some time before they kill. Launched workers cannot be sent one reliably, so a
request may also be a file in the run's folder.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class StopRequest:
    """Set by a signal or by a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._signalled = False

    def __bool__(self) -> bool:
        return self._signalled or self._file.exists()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT set the request inside the block; a second one acts as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread receives signals; launched workers have the file
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def set_request(number: int, frame: FrameType | None) -> None:
            self._signalled = True
            signal.signal(number, before[signal.Signals(number)])

        for number in before:
            signal.signal(number, set_request)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
