"""A clock that the test moves."""

from __future__ import annotations

import pytest

from datagen.runners.supervise import Watch


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)

    def run(self, watch: Watch, seconds: float, answers: bool = True) -> list[str]:
        """Check the worker every second, as the runners do; returns how it was lost, if it was."""
        lost = []
        for _ in range(int(seconds)):
            self.now += 1
            if answers:
                watch.answered()
            if loss := watch.check():
                lost.append(f"{loss.reason}: {loss.how}")
        return lost
