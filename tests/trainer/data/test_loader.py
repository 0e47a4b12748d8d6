from __future__ import annotations

import multiprocessing
import shutil
import time
from multiprocessing.connection import Connection
from pathlib import Path

import fsspec
import psutil
import pytest
import torch

from datagen.common.errors import UserError
from datagen.output.paths import Output
from tests.trainer.data.made import damage, opened, take
from tests.trainer.data.s3 import served
from trainer.data import Batch, DataConfig, DataSource, Loader, open_training_data


def slots(batches: list[Batch]) -> list[int]:
    return [slot for batch in batches for slot in batch.slots_B.tolist()]


def same(first: Batch, second: Batch) -> bool:
    return all(
        torch.equal(value, vars(second)[name])
        if isinstance(value, torch.Tensor)
        else value == vars(second)[name]
        for name, value in vars(first).items()
    )


def test_batches_are_uint8_with_channels_first(shared_dataset: Output) -> None:
    (batch,) = take(Loader(opened(shared_dataset, frames=12), 2), 1)
    assert batch.target_BF3HW is not None and batch.clip_image_B3SS is not None
    assert batch.target_BF3HW.shape == (2, 12, 3, 64, 64)
    assert batch.driver_BF1HW.shape == (2, 12, 1, 64, 64)
    assert batch.reference_B3HW.shape == (2, 3, 64, 64)
    assert batch.background_B1HW.shape == (2, 1, 64, 64)
    assert batch.clip_image_B3SS.shape == (2, 3, 224, 224)
    assert {t.dtype for t in (batch.target_BF3HW, batch.driver_BF1HW, batch.reference_B3HW)} == {torch.uint8}
    assert batch.fps_B.tolist() == [25.0, 25.0]
    assert len(batch) == 2


def test_worker_processes_change_nothing(shared_dataset: Output) -> None:
    data = opened(shared_dataset)
    here, there = take(Loader(data, 2), 6), take(Loader(data, 2, workers=2, prefetch=3), 6)
    assert all(same(a, b) for a, b in zip(here, there, strict=True))


def take_and_wait(root: Path, told: Connection) -> None:
    """A training process: takes a batch, sends the process numbers of its loader, and waits."""
    loader = Loader(open_training_data([DataSource(path=str(root))], DataConfig(frames=2), 0), 1, workers=2)
    take(loader, 1)
    told.send([child.pid for child in psutil.Process().children(recursive=True)])
    time.sleep(600)


def test_workers_do_not_outlive_a_killed_training_process(shared_dataset: Output) -> None:
    here, there = multiprocessing.Pipe()
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=take_and_wait, args=(shared_dataset.root, there))
    process.start()
    helpers = [psutil.Process(pid) for pid in here.recv()]
    assert len(helpers) >= 2
    process.kill()
    process.join()
    _, left = psutil.wait_procs(helpers, timeout=60)
    assert not left


def test_ranks_share_the_order_without_overlap_or_loss(shared_dataset: Output) -> None:
    data = opened(shared_dataset)
    alone = take(Loader(data, 4), 7)
    ranks = [take(Loader(data, 2, rank=rank, ranks=2), 7) for rank in range(2)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        assert slots([whole]) == slots(parts)
        assert whole.clip_ids == parts[0].clip_ids + parts[1].clip_ids
        assert torch.equal(whole.driver_BF1HW, torch.cat([part.driver_BF1HW for part in parts]))
    clips = [clip for batch in alone for clip in batch.clip_ids]
    for epoch in range(4):
        assert sorted(clips[7 * epoch : 7 * epoch + 7]) == [f"clip{n:02d}" for n in range(7)]


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_resume_in_the_middle_of_an_epoch(shared_dataset: Output, stop: int) -> None:
    whole = take(Loader(opened(shared_dataset), 3), 8)
    stopped = Loader(opened(shared_dataset), 3, workers=2 if stop == 3 else 0)
    take(stopped, stop)
    resumed = Loader(opened(shared_dataset), 3)
    assert resumed.restore(stopped.state()) == []
    assert all(same(a, b) for a, b in zip(whole[stop:], take(resumed, 8 - stop), strict=True))


def test_resume_on_other_ranks_goes_on_in_the_global_order(shared_dataset: Output) -> None:
    data = opened(shared_dataset)
    before = Loader(data, 2, ranks=2)
    take(before, 2)
    resumed = [Loader(data, 1, rank=rank, ranks=3) for rank in range(3)]
    for loader in resumed:
        (note,) = loader.restore(before.state())
        assert "made on 2 ranks, this run has 3" in note
    assert sorted(slot for loader in resumed for slot in slots(take(loader, 4))) == list(range(8, 20))


def test_resume_refuses_other_data(shared_dataset: Output) -> None:
    state = Loader(opened(shared_dataset), 2).state()
    for other in (opened(shared_dataset, seed=1), opened(shared_dataset, where="frames = 40")):
        with pytest.raises(UserError, match="changed since the checkpoint"):
            Loader(other, 2).restore(state)


def test_iterating_again_continues_without_a_gap(shared_dataset: Output) -> None:
    loader = Loader(opened(shared_dataset), 2)
    assert slots(take(loader, 2) + take(loader, 2)) == list(range(8))


def test_validation_is_the_same_slots_every_time(shared_dataset: Output) -> None:
    loader = Loader(opened(shared_dataset), 2, slots=5)
    first, second = list(loader), list(loader)
    assert slots(first) == slots(second) == list(range(5))
    take(loader, 1)
    assert all(same(a, b) for a, b in zip(first, loader, strict=True))
    ranks = [list(Loader(opened(shared_dataset), 2, rank=rank, ranks=2, slots=5)) for rank in range(2)]
    assert sorted(slots(ranks[0]) + slots(ranks[1])) == list(range(5))


def test_a_bad_clip_is_replaced_and_affects_no_other(dataset: Output) -> None:
    before = [clip for batch in take(Loader(opened(dataset), 2), 14) for clip in batch.clip_ids]
    damage(dataset, "clip01", "video.mp4")
    damage(dataset, "clip04", "face.safetensors")
    loader = Loader(opened(dataset), 2)
    batches = take(loader, 14)
    clips = [clip for batch in batches for clip in batch.clip_ids]
    assert not {"clip01", "clip04"} & set(clips)
    assert [b for a, b in zip(before, clips, strict=True) if a not in ("clip01", "clip04")] == [
        a for a in before if a not in ("clip01", "clip04")
    ]
    assert loader.replaced == 8 == len(before) - sum(a == b for a, b in zip(before, clips, strict=True))
    assert loader.bad == {
        "clip01": "the bytes of video.mp4 differ from the index's sha256",
        "clip04": "the bytes of face.safetensors differ from the index's sha256",
    }
    again = Loader(opened(dataset), 2, workers=2)
    assert all(same(a, b) for a, b in zip(batches, take(again, 14), strict=True))
    assert again.bad == loader.bad


def test_a_missing_shard_loses_only_its_clips(dataset: Output) -> None:
    next(dataset.shards.glob("p00000-u01-*.tar")).unlink()
    loader = Loader(opened(dataset), 2)
    clips = {clip for batch in take(loader, 7) for clip in batch.clip_ids}
    assert clips == {"clip00", "clip01", "clip02", "clip06"}
    assert all("is missing" in reason for reason in loader.bad.values())


@pytest.mark.parametrize("workers", [0, 1])
def test_the_run_ends_with_one_error_line_when_every_clip_is_bad(dataset: Output, workers: int) -> None:
    shutil.rmtree(dataset.shards)
    with pytest.raises(UserError) as caught:
        take(Loader(opened(dataset), 2, workers=workers), 1)
    assert "7 clips in a row cannot be used" in str(caught.value)
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)


def test_s3_gives_each_sample_by_one_range_read(shared_dataset: Output) -> None:
    local = opened(shared_dataset)
    with served(shared_dataset.root.parent) as (uri, requests):
        data = open_training_data(
            [DataSource(path=uri.replace("?", f"/{shared_dataset.root.name}?"))], DataConfig(frames=2), 0
        )
        here = take(Loader(data, 2), 4)
        reads = [(key, size) for method, key, size in requests if method == "GET" and "/shards/" in key]
        there = take(Loader(data, 2, workers=2), 4)  # the file system is sent to other processes
    expected = take(Loader(local, 2), 4)
    assert all(same(a, b) and same(a, c) for a, b, c in zip(expected, here, there, strict=True))
    assert len(reads) == 8
    assert all(size < (shared_dataset.root.parent / key).stat().st_size for key, size in reads)


def test_fsspec_stores_are_read(shared_dataset: Output) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(shared_dataset.root), "/bucket/set", recursive=True)
    data = open_training_data([DataSource(path="memory://bucket/set")], DataConfig(frames=2), 0)
    assert same(take(Loader(data, 2), 1)[0], take(Loader(opened(shared_dataset), 2), 1)[0])
