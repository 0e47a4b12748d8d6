"""The global order of samples, of which every rank and loader worker takes its share.

A run goes through an endless sequence of slots. The clip of slot `s` depends on (seed, s) only, so the order is the
same on any number of ranks and workers, and the position of a run is one number: the next slot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from datagen.common.seeding import keyed_rng


@dataclass(frozen=True)
class Place:
    """What a slot stands for: epoch, data set, number of the pass over it, and position in that pass."""

    epoch: int
    source: int
    turn: int
    position: int


class Order:
    """Shuffled passes over several data sets, mixed in fixed shares.

    An epoch has as many slots as there are clips. Each data set fills its share of the slots from its own shuffled
    passes, which continue across epochs: no clip is repeated before all clips of its set were used once. Without
    weights the shares are proportional to the numbers of clips, and an epoch holds every clip once.

    Args:
        sizes: clips of each data set, all positive.
        weights: share of each data set, positive, in any unit; None for the number of clips.
        seed: seed of the order.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float] | None = None, seed: int = 0) -> None:
        self.sizes = tuple(sizes)
        self.seed = seed
        self.counts = _shares(self.sizes, weights)
        self.epoch_slots = sum(self.counts)
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._passes: dict[tuple[int, int], np.ndarray] = {}

    def place(self, slot: int) -> Place:
        """What a slot stands for."""
        epoch, position = divmod(slot, self.epoch_slots)
        sources, occurrences = self._epoch(epoch)
        source = int(sources[position])
        turn, within = divmod(epoch * self.counts[source] + int(occurrences[position]), self.sizes[source])
        return Place(epoch, source, turn, within)

    def clips(self, place: Place) -> Iterator[int]:
        """Clip number at the place, then those that may replace it, in the order of the pass; each clip once."""
        shuffled = self._pass(place.source, place.turn)
        for step in range(len(shuffled)):
            yield int(shuffled[(place.position + step) % len(shuffled)])

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """For every slot of an epoch: its data set, and how many earlier slots of the epoch have the same data set."""
        known = self._epochs.get(epoch)  # read once: another thread may replace the dict
        if known is None:
            sources = np.repeat(np.arange(len(self.sizes), dtype=np.int16), self.counts)
            keyed_rng(self.seed, "mix", epoch).shuffle(sources)
            occurrences = np.empty(len(sources), np.int32)
            for source, count in enumerate(self.counts):
                occurrences[sources == source] = np.arange(count)
            known = sources, occurrences
            self._epochs = _latest(self._epochs) | {epoch: known}
        return known

    def _pass(self, source: int, turn: int) -> np.ndarray:
        key = (source, turn)
        shuffled = self._passes.get(key)
        if shuffled is None:
            shuffled = (
                keyed_rng(self.seed, "order", source, turn).permutation(self.sizes[source]).astype(np.int32)
            )
            older = {k: v for k, v in self._passes.items() if k[0] != source or k[1] >= turn - 1}
            self._passes = older | {key: shuffled}
        return shuffled

    def __getstate__(self) -> dict[str, object]:
        """Without the shuffled arrays, which another process computes again when it needs them."""
        return vars(self) | {"_epochs": {}, "_passes": {}}


def _latest(epochs: dict[int, tuple[np.ndarray, np.ndarray]]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """The newest epoch alone: the caller adds the requested one, and prefetching needs two at most."""
    return {epoch: epochs[epoch] for epoch in sorted(epochs)[-1:]}


def _shares(sizes: tuple[int, ...], weights: Sequence[float] | None) -> tuple[int, ...]:
    """Slots of each data set in an epoch: its weight's share, rounded, at least 1."""
    if weights is None:
        return sizes
    exact = np.asarray(weights, float) / sum(weights) * sum(sizes)
    counts = np.floor(exact).astype(int)
    for source in np.argsort(counts - exact, kind="stable")[: sum(sizes) - counts.sum()]:
        counts[source] += 1
    return tuple(int(max(1, count)) for count in counts)
