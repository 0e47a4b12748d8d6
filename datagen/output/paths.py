"""Where everything of an output lies, and which of its temporary files belong to a process that has died."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from datagen.common.errors import UserError

# Another host or container cannot be asked whether a process lives: its temporary files count as dead when idle this
# long. Workers touch theirs (see `Pulse`); what else writes under `tmp` (one file, then published) is done in minutes.
FOREIGN_AGE_S = 6 * 3600.0
TOUCH_S = 600.0

# A part that was curated again is `p00000-r1`; a unit that was made again is `p00000-u00-r1`.
UNIT_NAME = re.compile(r"p\d{5,}(?:-r\d+)?-u\d{2,}(?:-r\d+)?")
SHARD_NAME = re.compile(rf"(?P<unit>{UNIT_NAME.pattern})-(?P<digest>[0-9a-f]{{16}})\.tar")


def shard_name(unit: str, sha256: str) -> str:
    """File name of a unit's shard: it carries the hash, so equal names mean equal bytes."""
    return f"{unit}-{sha256[:16]}.tar"


@dataclass(frozen=True)
class Output:
    """Paths of one output folder (`OUT`); nothing is created before `create`."""

    root: Path

    @property
    def plan(self) -> Path:
        """Source videos in parts, one Parquet file per part."""
        return self.root / "plan"

    @property
    def waves(self) -> Path:
        """What belongs to each wave, and what was frozen of its clips."""
        return self.plan / "waves"

    @property
    def donors(self) -> Path:
        """Frozen donor pools, one per wave."""
        return self.plan / "donors"

    @property
    def portraits(self) -> Path:
        """Portraits cut for a pool that is not frozen yet."""
        return self.donors / "portraits"

    @property
    def roots_json(self) -> Path:
        """Where the roots of the sources lie now; may differ between runs."""
        return self.plan / "roots.json"

    @property
    def retries(self) -> Path:
        """What `retry` asked for, one JSON file per call."""
        return self.plan / "retries"

    @property
    def clips(self) -> Path:
        """Clip table, one Parquet file per curated part."""
        return self.root / "clips"

    @property
    def shards(self) -> Path:
        """Tar files, one per unit that has clips."""
        return self.root / "shards"

    @property
    def index(self) -> Path:
        """Index pieces, one per unit; the last file of a unit to appear."""
        return self.root / "index"

    @property
    def failures(self) -> Path:
        """Failure rows, one Parquet file per part or unit."""
        return self.root / "failures"

    @property
    def withdrawn(self) -> Path:
        """Tombstones: sources and subjects whose footage was withdrawn."""
        return self.root / "withdrawn"

    @property
    def compacted(self) -> Path:
        """Merged index pieces, one file per finished wave, to open large sets fast; never needed."""
        return self.root / "compacted"

    @property
    def precomputed(self) -> Path:
        """Latents and tokens made from finished shards."""
        return self.root / "precomputed"

    @property
    def logs(self) -> Path:
        """Whatever may differ between two runs: status, timings, what lost workers printed last."""
        return self.root / "logs"

    @property
    def tmp(self) -> Path:
        """The only place for temporary files."""
        return self.root / "tmp"

    @property
    def run_json(self) -> Path:
        """Recipe, hashes, software versions, codec and CPU fingerprint."""
        return self.root / "run.json"

    @property
    def status_json(self) -> Path:
        """Progress of the current or last run."""
        return self.logs / "status.json"

    def create(self) -> None:
        """Make the folders of the output.

        Raises:
            UserError: a folder cannot be made.
        """
        folders = (
            self.plan,
            self.waves,
            self.donors,
            self.portraits,
            self.retries,
            self.clips,
            self.shards,
            self.index,
            self.failures,
            self.logs,
            self.tmp,
        )
        for folder in folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"cannot create {folder}: {error.strerror}") from error

    def clear_stale_tmp(self, foreign_age_s: float = FOREIGN_AGE_S) -> int:
        """Remove temporary files whose process is gone; those of living ones, here or elsewhere, stay.

        Files of this host and container are stale when their process has ended, files of others when untouched
        for `foreign_age_s` seconds. Call it at the start and the end of a run.

        Returns:
            Number of files and folders removed.
        """
        removed = 0
        for path in _entries(self.tmp):
            owner = path.name.rpartition("~")[0].split("~", 1)
            if is_alive(owner[1] if len(owner) == 2 else "", path, foreign_age_s):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            removed += 1
        return removed


def published_names(folder: Path, suffix: str = ".parquet") -> set[str]:
    """Names, without `suffix`, of the files of a folder: the units or parts that are published.

    One directory listing, no `stat`: 100,000 names take a fraction of a second.
    """
    cut = len(suffix)
    try:
        with os.scandir(folder) as entries:
            return {entry.name[:-cut] for entry in entries if entry.name.endswith(suffix)}
    except FileNotFoundError:
        return set()


_counter = iter(range(2**62))


def temporary(tmp: Path, name: str) -> Path:
    """A path under `tmp` nobody else uses; its name tells which process it belongs to."""
    return tmp / f"{name.replace('~', '-')}~{owner_id()}~{next(_counter)}"


def owner_id() -> str:
    """This process as `place~pid~start`; `start` tells it from a later process with the same number."""
    return f"{_place()}~{os.getpid()}~{_start_of(os.getpid())}"


def is_alive(owner: str, path: Path, foreign_age_s: float = FOREIGN_AGE_S) -> bool:
    """Whether the process named by `owner_id` that wrote `path` may still be at work."""
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


class Pulse:
    """Called every few seconds in a worker, beside its work: keeps its temporary files from looking idle.

    A call returns only when the disks answer, so that one that hangs tells of a dead disk.

    Args:
        tmp: folder of the temporary files.
        places: further files or folders whose disks the worker needs.
    """

    def __init__(self, tmp: Path, places: tuple[Path, ...] = ()) -> None:
        self._tmp, self._places = tmp, places
        self._touch_at = 0.0

    def __call__(self) -> None:
        for place in (self._tmp, *self._places):
            with suppress(OSError):
                place.stat()
        if time.monotonic() >= self._touch_at:
            self._touch_at = time.monotonic() + TOUCH_S
            mine = f"~{owner_id()}~"
            for path in (path for path in _entries(self._tmp) if mine in path.name):
                with suppress(OSError):  # published meanwhile
                    os.utime(path)


def _place() -> str:
    """Where process numbers mean the same: a boot of a host, and a PID namespace there, hashed."""
    boot = namespace = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    text = "\n".join((socket.gethostname(), boot, namespace))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _start_of(pid: int) -> str:
    """Start of a process in ticks since boot, `?` where the system does not tell, empty if it is gone."""
    if _proc_is_ours():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            fields = stat.rpartition(")")[2].split()
            return "" if fields[0] in "ZX" else fields[19]
        except (FileNotFoundError, ProcessLookupError):
            pass  # gone, or hidden from us
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "?"


def _proc_is_ours() -> bool:
    """Whether `/proc` shows this process under its own number, and not those of an outer PID namespace."""
    try:
        return str(Path("/proc/self").readlink()) == str(os.getpid())
    except OSError:
        return False


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
