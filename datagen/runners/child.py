"""Child side of the local runner: holds one worker, does the tasks that come, and gives a sign of life meanwhile.

From the driver come three kinds of message, all pickled: first (pulse, seconds between beats), then the factory, then
tasks. To the driver go an `Outcome` for the factory and for each task, and None for each beat.
"""

from __future__ import annotations

import faulthandler
import pickle
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from datagen.runners.processes import end_with_parent
from datagen.runners.tasks import Task, Worker, attempt, single_threaded


class _Line:
    """Connection to the driver; two threads send."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self.inbox: SimpleQueue[bytes] = SimpleQueue()

    def send(self, message: Any) -> None:
        with self._lock:
            self._connection.send(message)

    def listen(self) -> None:
        """Until the driver has gone, which ends this process too."""
        try:
            while True:
                self.inbox.put(self._connection.recv_bytes())
        except (EOFError, OSError):
            pass
        finally:
            end_with_parent()

    def beat(self, pulse: Callable[[], None] | None, every_s: float) -> None:
        """Tell the driver every few seconds that this process runs, as long as the pulse does not hang."""
        while True:
            if pulse is not None:
                with suppress(Exception):
                    pulse()
            self.send(None)
            time.sleep(every_s)


def main() -> None:
    """Serve the driver whose end of the connection has the number in the arguments."""
    faulthandler.enable()  # a crash leaves its stack among the last lines
    line = _Line(Connection(int(sys.argv[1])))
    threading.Thread(target=line.listen, daemon=True).start()
    single_threaded()
    pulse, every_s = pickle.loads(line.inbox.get())  # noqa: S301 - from the process that started this one
    threading.Thread(target=line.beat, args=(pulse, every_s), daemon=True).start()
    workers: list[Worker] = []

    def load(_: Task) -> dict[str, Any]:
        workers.append(pickle.loads(line.inbox.get())())  # noqa: S301
        return {}

    line.send(attempt(load, Task("load", "")))
    while True:
        task: Task = pickle.loads(line.inbox.get())  # noqa: S301
        line.send(attempt(workers[0], task))


if __name__ == "__main__":
    main()
