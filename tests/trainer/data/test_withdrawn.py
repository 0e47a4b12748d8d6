"""After a withdrawal during a run nothing of the person is read, encoded or trained on."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from torch.nn.functional import avg_pool2d

from datagen.common.errors import UserError
from datagen.output.paths import Output
from datagen.output.store import Store
from tests.trainer.data.made import make_dataset, portrait, read_code, withdraw_from
from trainer.data import Batch, DataConfig, DataSource, Loader, TrainingData, open_training_data
from trainer.data import withdrawn as module
from trainer.data.clips import Clips
from trainer.data.stored_latents import Latents
from trainer.latents.encoders import Encoders
from trainer.latents.precompute import Done, precompute

SIDE = 32  # side of the image that CLIP would see, in pixels


@pytest.fixture(scope="module")
def short_clips(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """Five short clips in two shards; not to be changed."""
    return make_dataset(tmp_path_factory.mktemp("short") / "out", 5, frames=14)


@pytest.fixture
def dataset(short_clips: Output, tmp_path: Path) -> Output:
    """A copy of the short clips."""
    shutil.copytree(short_clips.root, tmp_path / "out")
    return Output(tmp_path / "out")


@pytest.fixture(scope="module")
def encoders() -> Encoders:
    """Means of patches in place of the networks; the values do not matter here."""
    return Encoders(
        moments=lambda images: avg_pool2d(images, 8).repeat(1, 2, 1, 1),
        tokens=lambda images: avg_pool2d(images, SIDE // 2).flatten(1)[:, None],
        vae="patches",
        clip="patches",
    )


def opened(where: str | Path, **config: Any) -> TrainingData:
    return open_training_data(
        [DataSource(path=str(where))], DataConfig(frames=2, clip_size=SIDE, **config), 0
    )


def clips_of(batches: list[Batch]) -> list[str]:
    return [clip for batch in batches for clip in batch.clip_ids]


WITHDRAWALS = {
    "source": {"source": "clip01.mp4"},
    "subject": {"subject": "clip person 1"},
    "donor": {"portrait": portrait("donor", 1)},
    "style": {"portrait": portrait("style", 1)},
}


@pytest.mark.parametrize("kind", WITHDRAWALS)
def test_a_clip_withdrawn_during_training_is_replaced_like_a_damaged_one(kind: str, dataset: Output) -> None:
    before = clips_of(list(islice(Loader(opened(dataset.root), 2), 10)))
    loader = Loader(opened(dataset.root), 2)
    batches = iter(loader)
    clips = clips_of(list(islice(batches, 5)))
    assert "clip01" in clips
    withdraw_from(dataset, **WITHDRAWALS[kind])
    clips += clips_of(list(islice(batches, 5)))
    assert "clip01" not in clips[10:]
    assert [a for a, b in zip(before, clips, strict=True) if a != b] == ["clip01"] * before[10:].count(
        "clip01"
    )
    assert loader.bad == {"clip01": "consent was withdrawn"} and loader.replaced == 2


def test_worker_processes_and_waiting_batches_notice_a_withdrawal(dataset: Output) -> None:
    loader = Loader(opened(dataset.root), 5, workers=1, prefetch=3)
    batches = iter(loader)
    first = next(batches)
    assert "clip01" in first.clip_ids and loader.without_withdrawn(first) is first
    withdraw_from(dataset, source="clip01.mp4")
    replaced = loader.without_withdrawn(first)
    assert replaced.slots_B.tolist() == first.slots_B.tolist()
    for old, new, picture in zip(first.clip_ids, replaced.clip_ids, replaced.reference_B3HW, strict=True):
        assert new != "clip01" and (old == new or old == "clip01")
        assert f"clip{read_code(picture.numpy())[0]:02d}" == new
    later = [loader.without_withdrawn(batch) for batch in islice(batches, 8)]
    assert "clip01" not in clips_of(later)
    assert loader.bad == {"clip01": "consent was withdrawn"}


def test_nothing_is_read_of_a_withdrawn_clip(
    dataset: Output, encoders: Encoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither streams nor latents."""
    precompute(dataset.root, encoders, clip_size=SIDE)
    data = opened(dataset.root, precomputed="always")
    assert data.precomputed is not None
    read: list[int] = []
    for owner, name in ((Clips, "read"), (Latents, "reference"), (Latents, "moments")):
        original = getattr(owner, name)

        def noted(self: Any, number: int, *rest: Any, original: Any = original, **named: Any) -> Any:
            read.append(number)
            return original(self, number, *rest, **named)

        monkeypatch.setattr(owner, name, noted)
    withdraw_from(dataset, subject="clip person 3")
    list(islice(Loader(data, 5), 2))
    assert set(read) == {0, 1, 2, 4}


def test_the_run_ends_with_one_error_line_when_every_clip_is_withdrawn(dataset: Output) -> None:
    loader = Loader(opened(dataset.root), 2)
    batch = next(iter(loader))
    for number in range(5):
        withdraw_from(dataset, source=f"clip{number:02d}.mp4")
    with pytest.raises(UserError, match=r"5 clips in a row cannot be used .*: consent was withdrawn"):
        loader.without_withdrawn(batch)
    with pytest.raises(UserError, match="5 clips in a row"):
        list(islice(loader, 4))


def test_an_object_store_is_checked_for_tombstones_every_half_minute(
    short_clips: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = [0.0]
    # Only in this module: with a clock that stands still, `multiprocessing` would wait for ever.
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    memory = fsspec.filesystem("memory")
    memory.put(str(short_clips.root), "/bucket/withdrawing", recursive=True)
    data = opened("memory://bucket/withdrawing")
    asked: list[str] = []
    names = Store.names
    monkeypatch.setattr(Store, "names", lambda self, folder: (asked.append(folder), names(self, folder))[1])
    assert data.withdrawn() == frozenset()
    local = Output(tmp_path)
    (tmp_path / "tmp").mkdir()
    withdraw_from(local, source="clip02.mp4")
    memory.put(str(local.withdrawn), "/bucket/withdrawing/withdrawn", recursive=True)
    now[0] = 29.0
    assert data.withdrawn() == frozenset() and asked == ["withdrawn"]
    now[0] = 31.0
    assert data.withdrawn() == {"clip02"}

    def gone(self: Store, folder: str) -> list[str]:
        raise UserError("cannot list withdrawn of memory://: down")

    monkeypatch.setattr(Store, "names", gone)
    now[0] = 62.0
    assert data.withdrawn() == {"clip02"}  # the last answer counts for a while
    now[0] = 400.0
    with pytest.raises(UserError, match="the withdrawals cannot be read: cannot list"):
        data.withdrawn()


def test_a_resume_after_a_withdrawal_continues_and_reports_it(dataset: Output) -> None:
    loader = Loader(opened(dataset.root), 2)
    list(islice(loader, 3))
    state = loader.state()
    withdraw_from(dataset, source="clip04.mp4")
    again = Loader(opened(dataset.root), 2)
    assert again.restore(state) == [
        "clips were withdrawn since the checkpoint: the order of samples is a new one from here on"
    ]
    assert again.position == 6
    assert "clip04" not in clips_of(list(islice(again, 5)))
    with pytest.raises(UserError, match="cannot be continued"):
        other = open_training_data([DataSource(path=str(dataset.root))], DataConfig(frames=2), seed=1)
        Loader(other, 2).restore(state)
    settled = again.state()
    with pytest.raises(UserError, match="cannot be continued"):
        fewer = open_training_data(
            [DataSource(path=str(dataset.root), where="frames < 14 or clip_id < 'clip02'")],
            DataConfig(frames=2),
            0,
        )
        Loader(fewer, 2).restore(settled)


def test_latents_of_clips_withdrawn_meanwhile_are_not_published(
    dataset: Output, encoders: Encoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip is withdrawn before its unit is encoded, one while it is encoded, and one while it is published."""
    from trainer.latents import precompute as making

    def before_second_unit(done: Done, left: int) -> None:
        if left == 1:
            withdraw_from(dataset, source="clip03.mp4")

    encode, encoded = making._encode_clip, []

    def while_encoding(clips: Clips, number: int, *rest: Any) -> Any:
        row = encode(clips, number, *rest)
        encoded.append(clips.clip_id(number))
        if len(encoded) == 2:
            withdraw_from(dataset, source="clip00.mp4")
        return row

    write = making.write_table

    def while_publishing(*arguments: Any) -> Any:
        if len(encoded) == 4:
            withdraw_from(dataset, source="clip01.mp4")
        return write(*arguments)

    monkeypatch.setattr(making, "_encode_clip", while_encoding)
    monkeypatch.setattr(making, "write_table", while_publishing)
    made = precompute(dataset.root, encoders, clip_size=SIDE, on_unit=before_second_unit)
    assert encoded == ["clip00", "clip01", "clip01", "clip02", "clip02", "clip04"]
    assert [done.clips for done in made] == [1, 1]
    pieces = sorted((dataset.precomputed / "index").glob("*.parquet"))
    rows = [row for piece in pieces for row in pq.read_table(piece).to_pylist()]
    assert [row["clip_id"] for row in rows] == ["clip02", "clip04"]
    tars = {path.name for path in dataset.precomputed.glob("*.tar")}
    assert tars == {row["shard"] for row in rows}
    everything = b"".join(path.read_bytes() for path in dataset.precomputed.rglob("*") if path.is_file())
    assert not [n for n in (0, 1, 3) if f"clip{n:02d}".encode() in everything]
    assert not list(dataset.tmp.iterdir())
