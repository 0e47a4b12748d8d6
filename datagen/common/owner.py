"""Which process a temporary file belongs to, and whether that process still runs."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

FOREIGN_AGE_S = 6 * 3600.0
"""Temporary files of another host or container are stale after this time without a change.

This host cannot check whether a process elsewhere still runs. Workers touch their files regularly (see
`datagen.output.temporary.Heartbeat`); all other writers finish and publish their file within minutes.
"""


def owner_id() -> str:
    """Id of this process, `place~pid~start`; `start` distinguishes it from a later process with the same pid."""
    return f"{_place()}~{os.getpid()}~{_start_of(os.getpid())}"


def is_alive(owner: str, path: Path, foreign_age_s: float = FOREIGN_AGE_S) -> bool:
    """Whether the process that wrote `path` may still run; `owner` is its `owner_id`."""
    parts = owner.split("~")
    if len(parts) != 3 or not parts[1].isdigit():
        return False
    place, pid, start = parts
    if place == _place():
        return _start_of(int(pid)) in (start, "?")
    try:
        return time.time() - path.lstat().st_mtime < foreign_age_s
    except FileNotFoundError:
        return False


def _place() -> str:
    """Hash of host, boot and PID namespace: process numbers are comparable only within one of them."""
    boot = namespace = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    text = "\n".join((socket.gethostname(), boot, namespace))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _start_of(pid: int) -> str:
    """Start of a process in ticks since boot; `?` if the system does not say, empty if the process has ended."""
    if _proc_is_ours():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            fields = stat.rpartition(")")[2].split()
            return "" if fields[0] in "ZX" else fields[19]
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended, or is hidden from this process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "?"


def _proc_is_ours() -> bool:
    """Whether `/proc` shows the numbers of our own PID namespace, not those of an outer one."""
    try:
        return str(Path("/proc/self").readlink()) == str(os.getpid())
    except OSError:
        return False
