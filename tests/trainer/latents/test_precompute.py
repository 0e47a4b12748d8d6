from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import webdataset

from datagen.common.errors import UserError
from datagen.inspect.verify import verify
from datagen.output.paths import Output
from tests.trainer.data.made import damage, make_dataset, read_code, withdraw_from
from trainer.data import Batch, DataConfig, DataSource, Loader, open_training_data
from trainer.latents.encoders import Encoders, complete, mean_latents, sample_latents
from trainer.latents.load import encoders_of, load_encoders
from trainer.latents.precompute import precompute
from trainer.model.config import TINY
from trainer.model.image_encoder import ImageEncoder
from trainer.model.vae import build_vae, encode

SIDE = TINY.image_encoder.image_size


@pytest.fixture(scope="module")
def encoders() -> Encoders:
    torch.manual_seed(0)
    return encoders_of(build_vae(TINY.vae), ImageEncoder(TINY.image_encoder), batch=4)


@pytest.fixture(scope="module")
def short_clips(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """Four short clips in two shards; not to be changed."""
    return make_dataset(
        tmp_path_factory.mktemp("short") / "out", 4, frames=[14, 12, 14, 16], clips_per_unit=2
    )


@pytest.fixture
def dataset(short_clips: Output, tmp_path: Path) -> Output:
    """A copy of them."""
    shutil.copytree(short_clips.root, tmp_path / "out")
    return Output(tmp_path / "out")


def batches(output: Output, count: int = 4, **config: Any) -> list[Batch]:
    settings = DataConfig(**{"frames": 4, "clip_size": SIDE} | config)
    data = open_training_data([DataSource(path=str(output.root))], settings, 0)
    return list(islice(Loader(data, 2), count))


def contents(output: Output) -> dict[str, bytes]:
    return {
        str(p.relative_to(output.root)): p.read_bytes() for p in output.precomputed.rglob("*") if p.is_file()
    }


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_stored_latents_equal_those_made_in_line(dataset: Output, encoders: Encoders, dtype: str) -> None:
    in_line = [complete(batch, encoders) for batch in batches(dataset)]
    done = precompute(dataset.root, encoders, dtype=dtype, clip_size=SIDE)
    assert [unit.unit for unit in done] == ["p00000-u00", "p00000-u01"]
    assert sum(unit.clips for unit in done) == 4 and not any(unit.failed for unit in done)
    for plain, stored in zip(in_line, batches(dataset), strict=True):
        assert stored.target_BF3HW is None and stored.clip_image_B3SS is None
        assert complete(stored, encoders) == stored
        assert stored.clip_ids == plain.clip_ids
        for name in (
            "driver_BF1HW",
            "reference_B3HW",
            "background_B1HW",
            "indices_BF",
            "reference_indices_B",
        ):
            assert torch.equal(vars(stored)[name], vars(plain)[name])
        for name in ("target_moments_BFChw", "reference_moments_BChw", "tokens_BTD"):
            got, wanted = vars(stored)[name], vars(plain)[name]
            assert got.dtype == getattr(torch, dtype)
            if dtype == "float32":
                assert torch.equal(got, wanted)
            else:
                torch.testing.assert_close(got.float(), wanted, rtol=2**-10, atol=2**-14)


def test_latents_are_the_models(dataset: Output, encoders: Encoders) -> None:
    torch.manual_seed(0)
    vae = build_vae(TINY.vae).eval()
    (batch,) = batches(dataset, 1)
    made = complete(batch, encoders)
    assert batch.target_BF3HW is not None and made.target_moments_BFChw is not None
    images = batch.target_BF3HW[0].float() / 127.5 - 1
    noise = torch.randn(4, 4, 8, 8)
    scale = TINY.vae.scaling_factor
    mean = mean_latents(made.target_moments_BFChw[0], scale)
    drawn = sample_latents(made.target_moments_BFChw[0], noise, scale)
    torch.testing.assert_close(mean, encode(vae, images), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(drawn, encode(vae, images, noise), rtol=1e-4, atol=1e-4)
    assert made.tokens_BTD is not None and made.tokens_BTD.shape == (2, 17, 48)


def test_rerun_resumes_and_gives_the_same_bytes(dataset: Output, encoders: Encoders) -> None:
    precompute(dataset.root, encoders, clip_size=SIDE)
    first = contents(dataset)
    assert precompute(dataset.root, encoders, clip_size=SIDE) == []
    (dataset.precomputed / "index" / "p00000-u01.parquet").unlink()
    assert [unit.unit for unit in precompute(dataset.root, encoders, clip_size=SIDE)] == ["p00000-u01"]
    assert contents(dataset) == first
    shutil.rmtree(dataset.precomputed)
    for part in (1, 0):
        precompute(dataset.root, encoders, clip_size=SIDE, part=part, parts=2)
    assert contents(dataset) == first
    assert list(dataset.tmp.iterdir()) == []


def test_format(dataset: Output, encoders: Encoders) -> None:
    precompute(dataset.root, encoders, clip_size=SIDE)
    tars = sorted(dataset.precomputed.glob("*.tar"))
    assert [tar.name[:10] for tar in tars] == ["p00000-u00", "p00000-u01"]
    sample = next(iter(webdataset.WebDataset(str(tars[0]), shardshuffle=False)))
    names = {name for name in sample if not name.startswith("__")}
    assert names == {"latents.safetensors", *(f"reference{k:02d}.safetensors" for k in range(4))}
    row = pq.read_table(dataset.precomputed / "index" / "p00000-u00.parquet").to_pylist()[0]
    assert (row["clip_id"], row["frames"], row["moments"], row["reason"]) == ("clip00", 14, [8, 8, 8], None)
    assert len(row["references"]) == 4
    settings = json.loads((dataset.precomputed / "settings.json").read_text())
    assert settings == {
        "vae": encoders.vae,
        "clip": encoders.clip,
        "dtype": "float16",
        "references": 4,
        "clip_size": SIDE,
    }


def test_other_settings_on_the_same_output_are_refused(dataset: Output, encoders: Encoders) -> None:
    precompute(dataset.root, encoders, clip_size=SIDE)
    with pytest.raises(UserError, match=f"clip_size: {SIDE} -> 56"):
        precompute(dataset.root, encoders, clip_size=56)
    with pytest.raises(UserError, match=r"vae: [0-9a-f]{16} -> other"):
        precompute(dataset.root, replace(encoders, vae="other"), clip_size=SIDE)


def test_a_bad_clip_has_a_row_with_the_reason(dataset: Output, encoders: Encoders) -> None:
    damage(dataset, "clip01", "video.mp4")
    done = precompute(dataset.root, encoders, clip_size=SIDE)
    reason = "the bytes of video.mp4 differ from the index's sha256"
    assert done[0].failed == {"clip01": reason}
    data = open_training_data([DataSource(path=str(dataset.root))], DataConfig(frames=4), 0)
    assert data.left_out == {"clip01": f"not precomputed: {reason}"}
    assert data.precomputed is not None and data.precomputed.vae == encoders.vae


def test_half_finished_latents_are_not_used_unless_demanded(dataset: Output, encoders: Encoders) -> None:
    precompute(dataset.root, encoders, clip_size=SIDE)
    (dataset.precomputed / "index" / "p00000-u00.parquet").unlink()
    source = DataSource(path=str(dataset.root))
    data = open_training_data([source], DataConfig(frames=4), 0)
    assert data.precomputed is None
    assert data.notes == (f"encoding in line: 2 of 4 clips of {dataset.root} have no latents",)
    with pytest.raises(UserError, match=r"2 of 4 clips .* run `precompute`"):
        open_training_data([source], DataConfig(frames=4, precomputed="always"), 0)
    assert open_training_data([source], DataConfig(frames=4, precomputed="never"), 0).notes == ()


def test_latents_of_another_vae_are_not_used(dataset: Output, encoders: Encoders) -> None:
    precompute(dataset.root, encoders, clip_size=SIDE)
    sources, config = [DataSource(path=str(dataset.root))], DataConfig(frames=4)
    assert open_training_data(sources, config, 0, networks=(encoders.vae, encoders.clip)).precomputed
    data = open_training_data(sources, config, 0, networks=("other", encoders.clip))
    assert data.precomputed is None and "another VAE or CLIP" in data.notes[0]


def test_damaged_latents_cost_only_their_clip(dataset: Output, encoders: Encoders) -> None:
    precompute(dataset.root, encoders, clip_size=SIDE)
    row = pq.read_table(dataset.precomputed / "index" / "p00000-u00.parquet").to_pylist()[1]
    with (dataset.precomputed / row["shard"]).open("r+b") as file:
        file.seek(row["start"])
        file.write(b"\xff" * 8 * 8 * 8 * 2 * row["frames"])
    data = open_training_data([DataSource(path=str(dataset.root))], DataConfig(frames=4), 0)
    loader = Loader(data, 2)
    clips = [clip for batch in islice(loader, 4) for clip in batch.clip_ids]
    assert "clip01" not in clips
    assert loader.bad == {"clip01": "precomputed latents are not finite"}


def test_withdrawn_footage_is_gone_here_too(dataset: Output, encoders: Encoders) -> None:
    precompute(dataset.root, encoders, clip_size=SIDE)
    withdraw_from(dataset, source="clip03.mp4")
    data = open_training_data([DataSource(path=str(dataset.root))], DataConfig(frames=4), 0)
    assert len(data.clips[0]) == 3 and data.precomputed is not None


def test_encoders_of_folders(tmp_path: Path, encoders: Encoders) -> None:
    torch.manual_seed(0)
    build_vae(TINY.vae).save_pretrained(tmp_path / "vae")
    ImageEncoder(TINY.image_encoder).save_pretrained(tmp_path / "clip")
    loaded = load_encoders(tmp_path / "vae", tmp_path / "clip", batch=4)
    assert (loaded.vae, loaded.clip) == (encoders.vae, encoders.clip)
    output = make_dataset(tmp_path / "out", 1)
    for left, right in zip(batches(output, 1), batches(output, 1), strict=True):
        first, second = complete(left, loaded), complete(right, encoders)
        assert first.tokens_BTD is not None and second.tokens_BTD is not None
        assert torch.equal(first.tokens_BTD, second.tokens_BTD)
        assert left.target_BF3HW is not None and read_code(left.target_BF3HW[0, 0].numpy())[0] == 0
    with pytest.raises(UserError):
        load_encoders(tmp_path / "clip", tmp_path / "vae")
    with pytest.raises(UserError):
        load_encoders(tmp_path / "vae", tmp_path)


def test_verify_finds_damaged_and_missing_latents(dataset: Output, encoders: Encoders) -> None:
    precompute(dataset.root, encoders, clip_size=SIDE)
    assert not verify(dataset.root).faults
    first, second = sorted(dataset.precomputed.glob("*.tar"))
    with first.open("r+b") as file:
        file.seek(first.stat().st_size // 2)
        file.write(bytes(64))
    second.unlink()
    faults = "\n".join(verify(dataset.root).faults)
    assert "has another sha256 than the index says" in faults
    assert f"precomputed/{second.name}: missing, but the index has 2 clips in it" in faults
    (dataset.precomputed / "index" / "p00000-u01.parquet").unlink()
    assert "precomputed/: 2 clips have no latents; `precompute` goes on" in verify(dataset.root).notes
