"""Child processes of Python that are killed with everything they started, and never outlive their parent.

A child leads a session of its own. So Ctrl-C reaches only the parent, which then ends the child, and one signal to the
child's process group also ends the programs the child started. The child holds one end of a pipe or socket of its
parent: when the parent ends, however it ends, the other end closes, and the child kills its own group.
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
REAP_S = 5.0  # a process that waits for a disk that does not answer cannot be killed yet: it is left behind


def start_python(module: str, arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start `python -m module arguments` in a session of its own, with the import path of this process.

    Args:
        module: name of the module to run.
        arguments: the module's command line.
        options: options of `subprocess.Popen`.
    """
    given = filter(None, [os.environ.get("PYTHONPATH")])
    path = os.pathsep.join([*filter(None, sys.path), *given, str(_ROOT)])
    return subprocess.Popen(
        # -P: a file in the working directory must not be imported in place of a library
        [sys.executable, "-P", "-m", module, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
        **options,
    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process of `start_python` with everything it started, and reap it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(REAP_S)


def kill_own_group() -> None:
    """Kill this process with everything it started; a child calls it when its parent has ended."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def describe_exit(code: int) -> str:
    """How a process ended, in words, from its return code (negative: the number of a signal)."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
