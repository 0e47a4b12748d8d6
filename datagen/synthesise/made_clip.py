"""Results of making one clip: files, columns, refused streams and times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from datagen.common.errors import Refusal
from datagen.output.schema import Row


@dataclass
class MadeClip:
    """Files and index columns of one clip.

    Attributes:
        files: member suffix -> bytes, or path of an encoded file.
        columns: index columns that are not in the clip table.
        left_out: refused streams with the reason.
        seconds: time per operation.
    """

    files: dict[str, bytes | Path] = field(default_factory=dict)
    columns: Row = field(default_factory=dict)
    left_out: dict[str, Refusal] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, operation: str) -> Iterator[None]:
        """Add the time of the block to an operation."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[operation] = self.seconds.get(operation, 0.0) + time.perf_counter() - started
