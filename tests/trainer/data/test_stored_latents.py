"""Which stored latents a run uses."""

from __future__ import annotations

from itertools import islice

import pyarrow.parquet as pq
import pytest

from datagen.common.errors import UserError
from datagen.output.paths import Output
from tests.trainer.data.made import withdraw_from
from tests.trainer.latents.made import SIDE
from trainer.data import DataConfig, DataSource, Loader, open_training_data
from trainer.latents.encoders import Encoders
from trainer.latents.precompute import precompute


def test_incomplete_latents_are_not_used_unless_demanded(short_copy: Output, encoders: Encoders) -> None:
    precompute(short_copy.root, encoders, clip_size=SIDE)
    (short_copy.precomputed / "index" / "p00000-u00.parquet").unlink()
    source = DataSource(path=str(short_copy.root))
    data = open_training_data([source], DataConfig(frames=4), 0)
    assert data.precomputed is None
    assert data.notes == (
        f"latents are computed while training: 2 of 4 clips of {short_copy.root} have no latents",
    )
    with pytest.raises(UserError, match=r"2 of 4 clips .* run `precompute`"):
        open_training_data([source], DataConfig(frames=4, precomputed="always"), 0)
    assert open_training_data([source], DataConfig(frames=4, precomputed="never"), 0).notes == ()


def test_latents_of_another_vae_are_not_used(short_copy: Output, encoders: Encoders) -> None:
    precompute(short_copy.root, encoders, clip_size=SIDE)
    sources, config = [DataSource(path=str(short_copy.root))], DataConfig(frames=4)
    assert open_training_data(sources, config, 0, networks=(encoders.vae, encoders.clip)).precomputed
    data = open_training_data(sources, config, 0, networks=("other", encoders.clip))
    assert data.precomputed is None and "another VAE or CLIP" in data.notes[0]


def test_damaged_latents_affect_only_their_clip(short_copy: Output, encoders: Encoders) -> None:
    precompute(short_copy.root, encoders, clip_size=SIDE)
    row = pq.read_table(short_copy.precomputed / "index" / "p00000-u00.parquet").to_pylist()[1]
    with (short_copy.precomputed / row["shard"]).open("r+b") as file:
        file.seek(row["start"])
        file.write(b"\xff" * 8 * 8 * 8 * 2 * row["frames"])
    data = open_training_data([DataSource(path=str(short_copy.root))], DataConfig(frames=4), 0)
    loader = Loader(data, 2)
    clips = [clip for batch in islice(loader, 4) for clip in batch.clip_ids]
    assert "clip01" not in clips
    assert loader.bad == {"clip01": "precomputed latents are not finite"}


def test_withdrawn_footage_has_no_latents(short_copy: Output, encoders: Encoders) -> None:
    precompute(short_copy.root, encoders, clip_size=SIDE)
    withdraw_from(short_copy, source="clip03.mp4")
    data = open_training_data([DataSource(path=str(short_copy.root))], DataConfig(frames=4), 0)
    assert len(data.clips[0]) == 3 and data.precomputed is not None
