"""Tasks of the stages: all that a worker needs to do one. They are small and picklable and hold no frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from datagen.output.schema import Row
from datagen.runners.tasks import Task

Refused = Mapping[str, tuple[str, str]]
"""Items that must not be tried, since they kill their process or are refused: key -> reason and message."""


@dataclass(frozen=True, kw_only=True)
class CurateTask(Task):
    """Find the clips of some sources of one part. The task has the name of the clip table it makes.

    Attributes:
        part: part of the plan.
        rows: plan rows, one for each source.
        attempt: for failure rows; 1 unless a retry asks for it.
        known: ids of clips that earlier attempts at this part found.
        refused: keys are source keys.
        replaces: clips of the damaged table that this task replaces; None if it replaces nothing.
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
        source: plan row of its source.
    """

    clip: Row
    source: Row


@dataclass(frozen=True, kw_only=True)
class PortraitTask(Task):
    """Cut the portraits of some donors from the footage.

    Attributes:
        cuts: one for each donor.
        refused: keys are clip ids.
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
    """Make the clips of one unit. The task has the name of the unit.

    Attributes:
        part: part of the plan.
        clip_table: name of the clip table that holds the clips.
        wave: wave whose donors the clips use.
        clips: `clip_id` and frozen columns of each clip.
        sources: source key -> plan row.
        attempt: for failure rows; 1 unless a retry asks for it.
        refused: keys are clip ids.
        replaces: clips of the damaged unit that this task replaces; None if it replaces nothing.
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
