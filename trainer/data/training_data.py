"""All data sets of a training run as one sequence of samples, addressed by slot."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from trainer.data.clips import Clips
from trainer.data.config import DataConfig
from trainer.data.errors import BadClipError
from trainer.data.order import Order
from trainer.data.sample import Sample, Skipped, make_sample
from trainer.data.stored_latents import Settings
from trainer.data.withdrawn import REASON, Withdrawals

logger = logging.getLogger(__name__)

MAX_BAD_IN_A_ROW = 64


class NoUsableClipError(Exception):
    """Too many clips in a row cannot be used."""


class TrainingData:
    """A map from slots (0, 1, 2 ... without end) to samples; the same in every process.

    A bad clip is replaced by the next one in its data set's order; the sample records which and why. A clip that is
    withdrawn while the data is in use is replaced in the same way, and its files are not read any more.

    Args:
        clips: the clips of each data set.
        weights: share of each data set; None: in proportion to the number of clips.
        config: config of a sample.
        seed: seed of the order and of every random choice.

    Attributes:
        order: order of the clips.
        left_out: clip id -> why it cannot be used according to the index.
        recipes: recipe hashes of the data, for checkpoints.
        tombstones: hash of the withdrawals that were known when the data was opened.
        notes: lines about the data for the user.
    """

    def __init__(
        self,
        clips: Sequence[Clips],
        weights: Sequence[float] | None,
        config: DataConfig,
        seed: int,
        *,
        left_out: dict[str, str] | None = None,
        recipes: Sequence[str] = (),
        tombstones: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        self.clips = tuple(clips)
        self.config = config
        self.order = Order([len(c) for c in clips], weights, seed)
        self.left_out = left_out or {}
        self.recipes = tuple(recipes)
        self.tombstones = tombstones
        self.notes = tuple(notes)
        self._bad: dict[tuple[int, int], str] = {}
        self._withdrawals = tuple(Withdrawals(c.store, c.ids, c.keys_N4) for c in self.clips)

    @property
    def precomputed(self) -> Settings | None:
        """Settings of the stored latents in the samples; None where the samples hold pixels."""
        latents = self.clips[0].latents
        return None if latents is None else latents.settings

    @cached_property
    def fingerprint(self) -> str:
        """Hash over seed, shares and clips in their order: equal fingerprints mean the same order of samples."""
        digest = hashlib.sha256(repr((self.order.seed, self.order.counts)).encode())
        for clips in self.clips:
            for clip_id in clips.ids.to_pylist():
                digest.update(clip_id.encode() + b"\n")
            digest.update(b"\n")
        return digest.hexdigest()[:16]

    def withdrawn(self) -> frozenset[str]:
        """Ids of the clips that were withdrawn since the data was opened.

        Raises:
            UserError: the withdrawals cannot be read.
        """
        return frozenset().union(*(item.found().values() for item in self._withdrawals))

    def sample(self, slot: int) -> Sample:
        """The sample at a slot.

        Raises:
            NoUsableClipError: no clip that could be taken there is usable.
            UserError: the withdrawals cannot be read.
        """
        place = self.order.place(slot)
        clips = self.clips[place.source]
        skipped: list[Skipped] = []
        fresh = 0
        for number in self.order.clips(place):
            key = (place.source, number)
            if number in self._withdrawals[place.source].found():
                self._bad[key] = REASON
            elif key not in self._bad:
                try:
                    made = make_sample(
                        clips, number, self.config, seed=self.order.seed, epoch=place.epoch, slot=slot
                    )
                    return replace(made, skipped=tuple(skipped))
                except BadClipError as error:
                    self._bad[key] = str(error)
                    logger.info("clip %s cannot be used: %s", clips.clip_id(number), error)
                    fresh += 1
            skipped.append(Skipped(clips.clip_id(number), self._bad[key]))
            if fresh == MAX_BAD_IN_A_ROW:
                break
        first = skipped[0]
        raise NoUsableClipError(
            f"{len(skipped)} clips in a row cannot be used in {clips.store.uri}, the first is {first.clip_id}: "
            f"{first.reason}; `verify` lists all faults"
        )
