"""Paths of all files in an output, and the names of published files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from datagen.common.errors import UserError
from datagen.common.owner import FOREIGN_AGE_S
from datagen.output.temporary import clear_stale


@dataclass(frozen=True)
class Output:
    """Paths in one output folder (`OUT`). Only `create` creates folders."""

    root: Path

    @property
    def plan(self) -> Path:
        """Source videos in parts, one Parquet file per part."""
        return self.root / "plan"

    @property
    def waves(self) -> Path:
        """The parts of each wave, and the frozen columns of its clips."""
        return self.plan / "waves"

    @property
    def donors(self) -> Path:
        """Frozen donor pools, one per wave."""
        return self.plan / "donors"

    @property
    def portraits(self) -> Path:
        """Portraits cut from footage for a pool that is not frozen yet."""
        return self.donors / "portraits"

    @property
    def roots_json(self) -> Path:
        """Current folders of the source roots; may differ between runs."""
        return self.plan / "roots.json"

    @property
    def retries(self) -> Path:
        """Requested retries, one JSON file per call of `retry`."""
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
        """Index pieces, one per unit; published last of all files of a unit."""
        return self.root / "index"

    @property
    def failures(self) -> Path:
        """Failure rows, one Parquet file per part or unit."""
        return self.root / "failures"

    @property
    def withdrawn(self) -> Path:
        """Tombstones of withdrawn sources, people and portraits."""
        return self.root / "withdrawn"

    @property
    def compacted(self) -> Path:
        """Merged index pieces, one file per finished wave. Optional: large sets open faster with them."""
        return self.root / "compacted"

    @property
    def precomputed(self) -> Path:
        """Latents and tokens made from finished shards."""
        return self.root / "precomputed"

    @property
    def logs(self) -> Path:
        """All that may differ between two runs: status, times, last output of lost workers."""
        return self.root / "logs"

    @property
    def tmp(self) -> Path:
        """Folder of all temporary files."""
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
        """Remove temporary files whose process no longer runs; see `datagen.output.temporary.clear_stale`."""
        return clear_stale(self.tmp, foreign_age_s)


def published_names(folder: Path, suffix: str = ".parquet") -> set[str]:
    """Names of the files in a folder, without `suffix`: the parts or units that are published.

    It needs one directory listing and no `stat`: 100,000 names take a fraction of a second.
    """
    cut = len(suffix)
    try:
        with os.scandir(folder) as entries:
            return {entry.name[:-cut] for entry in entries if entry.name.endswith(suffix)}
    except FileNotFoundError:
        return set()
