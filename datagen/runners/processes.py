"""Python processes of one's own: started apart from the terminal, ended with all they started, never outliving us.

A child leads a session of its own, so that Ctrl-C reaches only the process that must answer it, and a signal to the
group ends the child with its programs. It holds one end of a pipe or socket of the parent: when the other end closes,
the parent has gone, however it went, and the child ends its group.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
REAP_S = 5.0  # a process that waits for a dead disk cannot be ended yet: it is left behind


def start_python(module: str, arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start `python -m module arguments` in a session of its own, with the import path of this process.

    Args:
        options: of `subprocess.Popen`.
    """
    given = filter(None, [os.environ.get("PYTHONPATH")])
    path = os.pathsep.join([*filter(None, sys.path), *given, str(_ROOT)])
    return subprocess.Popen(
        # -P: a file in the working directory must not stand in for a library
        [sys.executable, "-P", "-m", module, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
        **options,
    )


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process of `start_python` with everything it started, and reap it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(REAP_S)


def end_with_parent() -> None:
    """Called in a child whose parent has gone: end it with everything it started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
