"""The tasks that the stages are made of: what a worker must know to do one, small and picklable, never frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from datagen.runners.tasks import Task

Row = dict[str, Any]

Refused = Mapping[str, tuple[str, str]]
"""Items that must not be tried, since they kill their process or may not be made: key -> reason and message."""


@dataclass(frozen=True, kw_only=True)
class CurateTask(Task):
    """Find the clips of some sources of one part; its name is that of the clip table it makes.

    Attributes:
        part: of the plan.
        rows: of the plan, one for each source.
        attempt: for failure rows; 1 unless a retry asks for it.
        known: ids of clips that earlier attempts at this part found.
        refused: by source key.
        replaces: clips of the damaged table whose place the new one takes; None where there is none.
    """

    kind: str = "curate"
    part: str
    rows: list[Row]
    attempt: int = 1
    known: frozenset[str] = frozenset()
    refused: Refused = field(default_factory=dict)
    replaces: frozenset[str] | None = None

    @property
    def items(self) -> list[str]:
        """Keys of its sources."""
        return [row["source_key"] for row in self.rows]

    def only(self, items: Collection[str]) -> CurateTask:
        """The same task for some of its sources."""
        return replace(self, rows=[row for row in self.rows if row["source_key"] in items])


@dataclass(frozen=True)
class PortraitCut:
    """One portrait to cut from the footage.

    Attributes:
        clip: `clip_id, source_key, source_sha256, crop, size, donor_frame` of the clip table.
        source: its source's row of the plan.
    """

    clip: Row
    source: Row


@dataclass(frozen=True, kw_only=True)
class PortraitTask(Task):
    """Cut the portraits of some donors from the footage.

    Attributes:
        cuts: one for each donor.
        refused: by clip id.
    """

    kind: str = "portrait"
    cuts: list[PortraitCut]
    refused: Refused = field(default_factory=dict)

    @property
    def items(self) -> list[str]:
        """Ids of the clips that the portraits are cut from."""
        return [cut.clip["clip_id"] for cut in self.cuts]

    def only(self, items: Collection[str]) -> PortraitTask:
        """The same task for some of its portraits."""
        return replace(self, cuts=[cut for cut in self.cuts if cut.clip["clip_id"] in items])


@dataclass(frozen=True, kw_only=True)
class SynthesiseTask(Task):
    """Make the clips of one unit; its name is the unit's.

    Attributes:
        part: of the plan.
        clip_table: name of the table that holds the clips.
        wave: whose donors the clips take.
        clips: `clip_id` and frozen columns of each clip.
        sources: source key -> row of the plan.
        attempt: for failure rows; 1 unless a retry asks for it.
        refused: by clip id.
        replaces: clips of the damaged unit whose place the new one takes; None where there is none.
    """

    kind: str = "synthesise"
    part: str
    clip_table: str
    wave: str
    clips: list[Row]
    sources: dict[str, Row]
    attempt: int = 1
    refused: Refused = field(default_factory=dict)
    replaces: frozenset[str] | None = None

    @property
    def items(self) -> list[str]:
        """Ids of its clips."""
        return [row["clip_id"] for row in self.clips]

    def only(self, items: Collection[str]) -> SynthesiseTask:
        """The same task for some of its clips."""
        return replace(self, clips=[row for row in self.clips if row["clip_id"] in items])


StageTask = CurateTask | PortraitTask | SynthesiseTask
