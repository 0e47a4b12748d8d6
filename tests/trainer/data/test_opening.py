"""Which clips a run opens, and which are left out."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.common.errors import UserError
from datagen.output.paths import Output
from tests.trainer.data.made import make_dataset, opened, take
from trainer.data import DataConfig, DataSource, Loader, open_training_data


def test_data_sets_are_mixed_by_weight(shared_dataset: Output, tmp_path: Path) -> None:
    other = make_dataset(tmp_path / "other", 2, prefix="other")
    sources = [
        DataSource(path=str(shared_dataset.root), weight=1),
        DataSource(path=str(other.root), weight=2),
    ]
    data = open_training_data(sources, DataConfig(frames=1), 0)
    clips = [clip for batch in take(Loader(data, 3), 9) for clip in batch.clip_ids]
    assert sum(clip.startswith("other") for clip in clips) == 18
    assert data.recipes == ("hash of clip", "hash of other")
    with pytest.raises(UserError, match="to every data set or to none"):
        open_training_data([sources[0], DataSource(path=str(other.root))], DataConfig(), 0)


def test_where_and_split_choose_clips(tmp_path: Path) -> None:
    output = make_dataset(tmp_path / "out", 6, splits=("train", "val", "train"))

    def ids(split: str | None, where: str | None = None) -> list[str]:
        data = open_training_data(
            [DataSource(path=str(output.root), where=where)], DataConfig(), 0, split=split
        )
        return data.clips[0].ids.to_pylist()

    assert ids("val") == ["clip01", "clip04"]
    assert ids("train", "face_area > 0.52 -- large faces") == ["clip03", "clip05"]
    assert ids(None, "clip_id = 'clip00' or clip_id = 'clip04'") == ["clip00", "clip04"]
    with pytest.raises(UserError, match="no clip with split = 'test'"):
        ids("test")
    with pytest.raises(UserError, match="nonsense"):
        ids("train", "nonsense > 3")


def test_clips_that_cannot_be_used_are_left_out_and_reported(tmp_path: Path) -> None:
    output = make_dataset(tmp_path / "out", 3, frames=[40, 10, 40])
    data = opened(output, frames=12)
    assert data.left_out == {"clip01": "the clip has 10 frames, a sample needs 12"}
    assert data.notes == (
        "1 clips are left out, the first is clip01: the clip has 10 frames, a sample needs 12",
    )
    with pytest.raises(
        UserError, match=r"none of the 3 clips .* can be used; clip00: the clip has 40 frames"
    ):
        opened(output, frames=50)
    with pytest.raises(UserError, match="no driving stream"):
        open_training_data([DataSource(path=str(output.root))], DataConfig(driving="baked"), 0)


def test_clips_of_two_sizes_cannot_be_mixed(dataset: Output) -> None:
    piece = dataset.index / "p00000-u01.parquet"
    table = pq.read_table(piece)
    column = table.schema.get_field_index("size")
    wider = table.set_column(column, "size", pa.array([128] * table.num_rows, pa.int32()))
    piece.unlink()
    pq.write_table(wider, piece)
    with pytest.raises(UserError, match="64 and 128 pixels"):
        opened(dataset)
    assert len(opened(dataset, where="size = 64").clips[0]) == 4
