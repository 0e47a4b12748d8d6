"""The batches of one rank, prepared in advance by worker processes.

Together the ranks take the next `ranks` x `batch_size` slots of the global order: rank 0 the first `batch_size` of
them, rank 1 the next, and so on. A resume needs only the number of slots that all ranks together have consumed.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import select
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import BaseContext
from typing import Any

import cv2
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from datagen.common.errors import UserError
from trainer.data.batch import Batch, collate
from trainer.data.sample import Sample
from trainer.data.training_data import NoUsableClipError, TrainingData

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # constants of <malloc.h>


@dataclass(frozen=True)
class LoaderState:
    """Position of a run in its data, for checkpoints; the same on every rank.

    Attributes:
        position: slots that all ranks together have consumed.
        fingerprint: fingerprint of the order of samples, see `TrainingData.fingerprint`.
        ranks: number of ranks that shared the samples.
        tombstones: hash of the withdrawals that were known.
        seed: seed of the order; None in checkpoints that do not hold it.
    """

    position: int
    fingerprint: str
    ranks: int
    tombstones: str = ""
    seed: int | None = None


class Loader:
    """Iterates over batches, from its current position on.

    Args:
        data: the training data.
        batch_size: samples a batch of this rank.
        rank, ranks: this rank and their number; they decide its share of the global order.
        workers: processes that make samples, with one thread each; 0 makes the samples in this process.
        prefetch: batches that each worker prepares in advance.
        pin_memory: return page-locked tensors.
        slots: stop before this slot, and start at slot 0 again with the next iteration (validation); None never stops
            (training).

    Attributes:
        position: slots all ranks have consumed; the next batch begins here.
        bad: clip id -> why it could not be used, of all batches returned.
        replaced: number of samples for which another clip was taken.
        wait_s: seconds spent waiting for batches.
    """

    def __init__(
        self,
        data: TrainingData,
        batch_size: int,
        *,
        rank: int = 0,
        ranks: int = 1,
        workers: int = 0,
        prefetch: int = 2,
        pin_memory: bool = False,
        slots: int | None = None,
    ) -> None:
        if not 0 <= rank < ranks:
            raise ValueError(f"rank is {rank}; it must lie in 0..{ranks - 1}")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; give a positive number")
        self.data, self.batch_size, self.rank, self.ranks, self.slots = data, batch_size, rank, ranks, slots
        self.position = 0
        self.bad: dict[str, str] = {}
        self.replaced = 0
        self.wait_s = 0.0
        self._batches: Iterator[Batch | str] | None = None
        worker_options: dict[str, Any] = {
            "num_workers": workers,
            "prefetch_factor": prefetch,
            "persistent_workers": True,
            "multiprocessing_context": _processes(),
            "worker_init_fn": partial(_start_worker, os.getpid()),
        }
        self._loader: DataLoader[Any] = DataLoader(
            _Samples(data),
            batch_sampler=_Share(self),
            collate_fn=_collate,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # a resumed run's extra iterator must not use torch's global generator
            **(worker_options if workers else {}),
        )

    def __iter__(self) -> Iterator[Batch]:
        if self.slots is not None:
            self.position, self._batches = 0, None
        while True:
            batch = self._next()
            if batch is None:
                return
            yield batch

    def state(self) -> LoaderState:
        """Position in the data, for a checkpoint."""
        return LoaderState(
            position=self.position,
            fingerprint=self.data.fingerprint,
            ranks=self.ranks,
            tombstones=self.data.tombstones,
            seed=self.data.order.seed,
        )

    def restore(self, state: LoaderState) -> list[str]:
        """Go on where a checkpoint was made, on any number of ranks.

        Returns:
            What the user should know about the resume.

        Raises:
            UserError: the data or the seed is not the checkpoint's.
        """
        notes = []
        if state.fingerprint != self.data.fingerprint:
            same_seed = state.seed == self.data.order.seed
            if not same_seed or state.tombstones == self.data.tombstones:
                raise UserError(
                    "the data set, its selection, weights or the seed changed since the checkpoint, so the order of "
                    "samples cannot be continued; restore them, or begin a new run with --init"
                )
            notes.append(
                "clips were withdrawn since the checkpoint: the order of samples is a new one from here on"
            )
        self.position = state.position
        self._batches = None
        if state.ranks != self.ranks:
            notes.append(
                f"the checkpoint was made on {state.ranks} ranks, this run has {self.ranks}: "
                f"the order of samples continues at slot {self.position}, with other batches"
            )
        return notes

    def without_withdrawn(self, batch: Batch) -> Batch:
        """The batch, or a new one with other clips if some of its clips were withdrawn after it was prepared.

        Raises:
            UserError: no clip is left, or the withdrawals cannot be read.
        """
        if self.data.withdrawn().isdisjoint(batch.clip_ids):
            return batch
        samples = _Samples(self.data)
        made = _collate([samples[slot] for slot in batch.slots_B.tolist()])
        if isinstance(made, str):
            raise UserError(made)
        self._count(made)
        return made.pin_memory() if batch.slots_B.is_pinned() else made

    def _count(self, batch: Batch) -> None:
        self.bad |= {skipped.clip_id: skipped.reason for skipped in batch.skipped}
        self.replaced += batch.replaced

    def _next(self) -> Batch | None:
        started = time.perf_counter()
        if self._batches is None:
            self._batches = iter(self._loader)
        batch = next(self._batches, None)
        self.wait_s += time.perf_counter() - started
        if batch is None:
            self._batches = None
            return None
        if isinstance(batch, str):
            raise UserError(batch)
        self.position += self.batch_size * self.ranks
        self._count(batch)
        return batch


class _Samples(Dataset[Sample | str]):
    """`TrainingData` as a torch dataset. An error is returned as its text and raised in the training process."""

    def __init__(self, data: TrainingData) -> None:
        self._data = data

    def __getitem__(self, slot: int) -> Sample | str:
        try:
            return self._data.sample(slot)
        except (NoUsableClipError, UserError) as error:
            return str(error)


class _Share(Sampler[list[int]]):
    """Slots of each batch of the loader's rank, from the loader's position on."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[list[int]]:
        loader = self._loader
        first = loader.position + loader.rank * loader.batch_size
        while True:
            end = first + loader.batch_size
            slots = list(range(first, end if loader.slots is None else min(end, loader.slots)))
            if not slots:
                return
            yield slots
            first += loader.batch_size * loader.ranks


def _collate(samples: Sequence[Sample | str]) -> Batch | str:
    made = []
    for sample in samples:
        if isinstance(sample, str):
            return sample
        made.append(sample)
    return collate(made)


def _processes() -> BaseContext:
    """A context that forks workers from a clean server process, which imports what they need once.

    Forks of the training process itself could copy locks that its threads hold (CUDA, Ray, an object store's client).
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer.data.loader"])
    return context


def _start_worker(trainer: int, worker: int) -> None:
    """Set up a worker process: one thread, a process group of its own, and an end with the training process.

    A signal to the process group (from Ctrl-C or `timeout`) must reach the training process only.
    """
    os.setpgrp()
    _end_with(trainer)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    _keep_memory()


def _end_with(trainer: int) -> None:
    """Exit when the training process has ended for any reason. (torch checks the parent, here the fork server.)"""
    try:
        handle = os.pidfd_open(trainer)
    except (AttributeError, OSError):  # no Linux, or an old one
        return

    def wait() -> None:
        select.select([handle], [], [])
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="exit with the training process").start()


def _keep_memory() -> None:
    """Make glibc keep freed frame buffers: by default it returns large blocks and gets them again page by page."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return
    mallopt(
        _M_MMAP_THRESHOLD, 1 << 25
    )  # the largest value that every glibc accepts; 16 frames of 512 pixels are 12 MB
    mallopt(_M_TRIM_THRESHOLD, 1 << 30)
