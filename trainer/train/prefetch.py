"""Items prepared in advance by a thread, so that the device does not wait for them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """The items of an iterator; up to `depth` of them are made in advance by a thread.

    Attributes:
        waited_s: seconds the caller spent waiting.
    """

    def __init__(self, items: Iterator[T], depth: int = 2) -> None:
        self.waited_s = 0.0
        self._ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(items,), daemon=True, name="prefetcher")
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        started = time.perf_counter()
        item, error = self._ready.get()
        self.waited_s += time.perf_counter() - started
        if error is not None:
            raise error
        assert item is not None
        return item

    def close(self) -> None:
        """End the thread; items made in advance are discarded."""
        self._closed.set()
        while self._thread.is_alive():
            try:
                self._ready.get(timeout=0.05)
            except queue.Empty:
                continue

    def _fill(self, items: Iterator[T]) -> None:
        try:
            for item in items:
                if self._closed.is_set():
                    return
                self._ready.put((item, None))
            self._ready.put((None, StopIteration()))
        except BaseException as error:  # every error is raised again in the caller
            self._ready.put((None, error))
