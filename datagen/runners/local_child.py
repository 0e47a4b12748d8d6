"""Child side of the local runner: holds one worker, runs the tasks it is sent, and sends heartbeats meanwhile.

The driver sends three kinds of message, all pickled: first the tuple (heartbeat, seconds between heartbeats), then the
factory, then tasks. The child sends a `TaskOutcome` for the factory and for each task, and None for each heartbeat.
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

from datagen.runners.processes import kill_own_group
from datagen.runners.supervise import LOADING
from datagen.runners.tasks import Report, Task, TaskOutcome, Worker, attempt, single_threaded


class _Driver:
    """Connection to the driver; two threads send on it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self.inbox: SimpleQueue[bytes] = SimpleQueue()

    def send(self, message: TaskOutcome | None) -> None:
        with self._lock:
            self._connection.send(message)

    def receive(self) -> None:
        """Put messages into the inbox until the driver has ended, then end this process too."""
        try:
            while True:
                self.inbox.put(self._connection.recv_bytes())
        except (EOFError, OSError):
            pass
        finally:
            kill_own_group()

    def send_heartbeats(self, heartbeat: Callable[[], None] | None, every_s: float) -> None:
        """Tell the driver every few seconds that this process runs, as long as `heartbeat` returns."""
        while True:
            if heartbeat is not None:
                with suppress(Exception):
                    heartbeat()
            self.send(None)
            time.sleep(every_s)


def main() -> None:
    """Serve the driver; the argument is the file descriptor of the connection to it."""
    faulthandler.enable()  # a crash leaves its stack among the last lines printed
    driver = _Driver(Connection(int(sys.argv[1])))
    threading.Thread(target=driver.receive, daemon=True).start()
    single_threaded()
    heartbeat, every_s = pickle.loads(driver.inbox.get())  # noqa: S301 - from the process that started this one
    threading.Thread(target=driver.send_heartbeats, args=(heartbeat, every_s), daemon=True).start()
    workers: list[Worker] = []

    def load(_: Task) -> Report:
        workers.append(pickle.loads(driver.inbox.get())())  # noqa: S301
        return {}

    driver.send(attempt(load, LOADING))
    while True:
        task: Task = pickle.loads(driver.inbox.get())  # noqa: S301
        driver.send(attempt(workers[0], task))


if __name__ == "__main__":
    main()
