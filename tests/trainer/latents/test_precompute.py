from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch
import webdataset

from datagen.common.errors import UserError
from datagen.inspect.verify import verify
from datagen.output.paths import Output
from tests.trainer.data.made import damage
from tests.trainer.latents.made import SIDE, batches
from trainer.data import DataConfig, DataSource, open_training_data
from trainer.latents.encoders import Encoders, complete
from trainer.latents.precompute import precompute


def contents(output: Output) -> dict[str, bytes]:
    return {
        str(p.relative_to(output.root)): p.read_bytes() for p in output.precomputed.rglob("*") if p.is_file()
    }


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_stored_latents_equal_those_made_in_line(short_copy: Output, encoders: Encoders, dtype: str) -> None:
    in_line = [complete(batch, encoders) for batch in batches(short_copy)]
    done = precompute(short_copy.root, encoders, dtype=dtype, clip_size=SIDE)
    assert [unit.unit for unit in done] == ["p00000-u00", "p00000-u01"]
    assert sum(unit.clips for unit in done) == 4 and not any(unit.failed for unit in done)
    for plain, stored in zip(in_line, batches(short_copy), strict=True):
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


def test_rerun_resumes_and_gives_the_same_bytes(short_copy: Output, encoders: Encoders) -> None:
    precompute(short_copy.root, encoders, clip_size=SIDE)
    first = contents(short_copy)
    assert precompute(short_copy.root, encoders, clip_size=SIDE) == []
    (short_copy.precomputed / "index" / "p00000-u01.parquet").unlink()
    assert [unit.unit for unit in precompute(short_copy.root, encoders, clip_size=SIDE)] == ["p00000-u01"]
    assert contents(short_copy) == first
    shutil.rmtree(short_copy.precomputed)
    for part in (1, 0):
        precompute(short_copy.root, encoders, clip_size=SIDE, part=part, parts=2)
    assert contents(short_copy) == first
    assert list(short_copy.tmp.iterdir()) == []


def test_tars_index_and_settings_have_the_stated_format(short_copy: Output, encoders: Encoders) -> None:
    precompute(short_copy.root, encoders, clip_size=SIDE)
    tars = sorted(short_copy.precomputed.glob("*.tar"))
    assert [tar.name[:10] for tar in tars] == ["p00000-u00", "p00000-u01"]
    sample = next(iter(webdataset.WebDataset(str(tars[0]), shardshuffle=False)))
    names = {name for name in sample if not name.startswith("__")}
    assert names == {"latents.safetensors", *(f"reference{k:02d}.safetensors" for k in range(4))}
    row = pq.read_table(short_copy.precomputed / "index" / "p00000-u00.parquet").to_pylist()[0]
    assert (row["clip_id"], row["frames"], row["moments"], row["reason"]) == ("clip00", 14, [8, 8, 8], None)
    assert len(row["references"]) == 4
    settings = json.loads((short_copy.precomputed / "settings.json").read_text())
    assert settings == {
        "vae": encoders.vae,
        "clip": encoders.clip,
        "dtype": "float16",
        "references": 4,
        "clip_size": SIDE,
    }


def test_other_settings_on_the_same_output_are_refused(short_copy: Output, encoders: Encoders) -> None:
    precompute(short_copy.root, encoders, clip_size=SIDE)
    with pytest.raises(UserError, match=f"clip_size: {SIDE} -> 56"):
        precompute(short_copy.root, encoders, clip_size=56)
    with pytest.raises(UserError, match=r"vae: [0-9a-f]{16} -> other"):
        precompute(short_copy.root, replace(encoders, vae="other"), clip_size=SIDE)


def test_a_bad_clip_gets_a_row_with_the_reason(short_copy: Output, encoders: Encoders) -> None:
    damage(short_copy, "clip01", "video.mp4")
    done = precompute(short_copy.root, encoders, clip_size=SIDE)
    reason = "the bytes of video.mp4 differ from the index's sha256"
    assert done[0].failed == {"clip01": reason}
    data = open_training_data([DataSource(path=str(short_copy.root))], DataConfig(frames=4), 0)
    assert data.left_out == {"clip01": f"not precomputed: {reason}"}
    assert data.precomputed is not None and data.precomputed.vae == encoders.vae


def test_verify_finds_damaged_and_missing_latents(short_copy: Output, encoders: Encoders) -> None:
    precompute(short_copy.root, encoders, clip_size=SIDE)
    assert not verify(short_copy.root).faults
    first, second = sorted(short_copy.precomputed.glob("*.tar"))
    with first.open("r+b") as file:
        file.seek(first.stat().st_size // 2)
        file.write(bytes(64))
    second.unlink()
    faults = "\n".join(verify(short_copy.root).faults)
    assert "has another sha256 than the index says" in faults
    assert f"precomputed/{second.name}: missing, but the index has 2 clips in it" in faults
    (short_copy.precomputed / "index" / "p00000-u01.parquet").unlink()
    assert "precomputed/: 2 clips have no latents; `precompute` makes them" in verify(short_copy.root).notes
