"""Batches of one rank from the global order, made ahead by worker processes.

Batch `n` of the run is cut from the global order as `ranks` consecutive runs of `batch_size` slots; this rank takes
its own. All that must be kept for a resume is how many slots all ranks together have consumed.
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

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>


@dataclass(frozen=True)
class LoaderState:
    """How far a run has come in its data, for checkpoints; the same on every rank.

    Attributes:
        position: slots that all ranks together have consumed.
        fingerprint: of the order of samples, see `TrainingData.fingerprint`.
        ranks: how many shared the samples.
        tombstones: hash of the withdrawals that were known.
        seed: of the order; None in checkpoints that do not hold it.
    """

    position: int
    fingerprint: str
    ranks: int
    tombstones: str = ""
    seed: int | None = None


class Loader:
    """Iterates over batches, on from where it stands.

    Args:
        data: what to train on.
        batch_size: samples a batch of this rank.
        rank, ranks: which share of the global order.
        workers: processes that make samples; 0 makes them here. They run one thread each.
        prefetch: batches each worker is ahead.
        pin_memory: hand out page-locked tensors.
        slots: stop before this slot, and begin at slot 0 again with the next iteration (validation); None goes on
            without end (training).

    Attributes:
        position: slots all ranks have consumed; the next batch begins here.
        bad: clip id -> why it could not be used, of all batches handed out.
        replaced: samples another clip had to stand in for.
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
        many: dict[str, Any] = {
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
            generator=torch.Generator(),  # the global one is left alone: a resumed run makes one more iterator
            **(many if workers else {}),
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
                f"the order of samples goes on at {self.position}, the batches are cut anew"
            )
        return notes

    def without_withdrawn(self, batch: Batch) -> Batch:
        """The batch, made again if one of its clips was withdrawn since: what waits ready is not used either.

        Raises:
            UserError: no clip is left, or it cannot be known what was withdrawn.
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
    """`TrainingData` as torch wants it. An error is handed on as its text, to be raised in the training process."""

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
    """Workers come from a clean process that has imported what they need, once.

    Forks of the training process would copy the locks of its threads (CUDA, Ray, an object store's client) in whatever
    state they are.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer.data.loader"])
    return context


def _start_worker(trainer: int, worker: int) -> None:
    """One thread each: the processes are the parallelism.

    Signals to the group, such as Ctrl-C or what `timeout` sends, are the training process's to answer, so a worker
    leaves the group; it ends when the training process does.
    """
    os.setpgrp()
    _end_with(trainer)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    _keep_memory()


def _end_with(trainer: int) -> None:
    """Leave when a process is gone, however it went. (torch looks at the parent, which is the server of forks here.)"""
    try:
        gone = os.pidfd_open(trainer)
    except (AttributeError, OSError):  # no Linux, or an old one
        return

    def wait() -> None:
        select.select([gone], [], [])
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="end with the trainer").start()


def _keep_memory() -> None:
    """Let glibc reuse the memory of frames: by default it gives large blocks back, and gets them again page by page."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return
    mallopt(_M_MMAP_THRESHOLD, 1 << 25)  # the most that every glibc takes; 16 frames of 512 pixels are 12 MB
    mallopt(_M_TRIM_THRESHOLD, 1 << 30)
