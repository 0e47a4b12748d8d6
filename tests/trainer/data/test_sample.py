from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datagen.driving.augment import Augmentation
from datagen.driving.mask import mask_driving
from datagen.output.paths import Output
from datagen.shards.reader import Dataset
from tests.trainer.data.made import SIZE, damage, make_dataset, read_code, read_stream
from trainer.data import KINDS, DataConfig, DataSource, Drivers, Sample, open_training_data
from trainer.data.config import STREAM_OF


def samples(output: Output, count: int = 20, seed: int = 0, **config: Any) -> list[Sample]:
    data = open_training_data([DataSource(path=str(output.root))], DataConfig(**config), seed)
    return [data.sample(slot) for slot in range(count)]


def only(kind: str) -> Drivers:
    return Drivers(**{name: float(name == kind) for name in KINDS})


@pytest.mark.parametrize("driving", ["online", "baked"])
@pytest.mark.parametrize("kind", KINDS)
def test_driver_and_target_show_the_same_frames(shared_dataset: Output, kind: str, driving: str) -> None:
    for sample in samples(shared_dataset, 8, driving=driving, drivers=only(kind), warp_rate=0.5):
        clip = int(sample.clip_id.removeprefix("clip"))
        warp = Augmentation(sample.scale, sample.aspect)
        assert sample.target is not None
        assert [read_code(frame) for frame in sample.target] == [(clip, index) for index in sample.indices]
        assert [read_code(frame, warp) for frame in sample.driver] == [
            (clip, index) for index in sample.indices
        ]
        assert {read_stream(frame) for frame in sample.target} == {"video"}
        assert {read_stream(frame) for frame in sample.driver} == {STREAM_OF[KINDS[sample.kind]]}
        assert KINDS[sample.kind] == kind
        assert read_code(sample.reference) == (clip, sample.reference_index)
        assert not sample.indices[0] <= sample.reference_index <= sample.indices[-1]
        assert np.array_equal(np.diff(sample.indices), np.full(11, 2))


def test_online_driver_is_the_pipelines_augmentation_and_mask(shared_dataset: Output) -> None:
    data = Dataset(shared_dataset.root)
    for mask in ("box", "hull"):
        warped = 0
        for sample in samples(shared_dataset, 6, mask=mask, warp_rate=0.5):
            frames = data.frames(sample.clip_id, STREAM_OF[KINDS[sample.kind]], sample.indices)
            faces = data.faces(sample.clip_id)
            warp = Augmentation(sample.scale, sample.aspect)
            warped += warp != Augmentation()
            frames, boxes = warp.apply(frames, faces["box"][sample.indices].astype(np.float32))
            landmarks = warp.points(faces["landmarks"][sample.indices].astype(np.float32), (SIZE, SIZE))
            assert np.array_equal(sample.driver, mask_driving(frames, boxes, mask, landmarks))
        assert 0 < warped < 6


def test_a_baked_driver_reports_its_augmentation(shared_dataset: Output) -> None:
    data = Dataset(shared_dataset.root)
    for sample in samples(shared_dataset, 4, driving="baked"):
        frames = data.frames(sample.clip_id, f"driving_{STREAM_OF[KINDS[sample.kind]]}", sample.indices)
        assert np.array_equal(sample.driver, frames[..., 0])
        assert (sample.scale, sample.aspect) == (pytest.approx(0.9), 1.0)


def test_background_mask_and_clip_image_match_the_model_code(shared_dataset: Output) -> None:
    transformers = pytest.importorskip("transformers")
    clip = transformers.CLIPImageProcessorPil(do_normalize=False)
    data = Dataset(shared_dataset.root)
    for sample in samples(shared_dataset, 3):
        mask = data.frames(sample.clip_id, "mask", [sample.reference_index])[0, :, :, 0]
        assert np.array_equal(sample.background, mask < 128)
        assert 0 < sample.background.mean() < 1
        background = np.where(mask[..., None] >= 128, np.uint8(0), sample.reference)
        expected = clip(background, return_tensors="np").pixel_values[0].transpose(1, 2, 0)
        assert sample.clip_image is not None and sample.clip_image.shape == (224, 224, 3)
        assert np.allclose(sample.clip_image / 255, expected, atol=1e-6)


def test_images_are_clips_of_one_frame(shared_dataset: Output) -> None:
    for sample in samples(shared_dataset, 8, frames=1):
        assert sample.target is not None and sample.target.shape == (1, SIZE, SIZE, 3)
        assert sample.driver.shape == (1, SIZE, SIZE)
        assert read_code(sample.driver[0], Augmentation(sample.scale, sample.aspect))[1] == sample.indices[0]
        assert sample.reference_index != sample.indices[0]


def test_driver_kinds_follow_their_rates(shared_dataset: Output) -> None:
    kinds = [
        s.kind
        for s in samples(shared_dataset, 60, frames=1, drivers=Drivers(original=0, swapped=1, styled=3))
    ]
    assert 0 not in kinds
    assert kinds.count(2) > kinds.count(1) > 0


def test_missing_driver_kinds_are_replaced_by_the_others(tmp_path: Path) -> None:
    output = make_dataset(tmp_path / "out", 2, streams=("video", "styled"))
    assert {
        s.kind for s in samples(output, 12, frames=1, drivers=Drivers(original=0, swapped=1, styled=1))
    } == {2}
    assert {s.kind for s in samples(output, 12, frames=1, drivers=only("swapped"))} == {0}


def test_choices_depend_on_seed_epoch_and_clip(shared_dataset: Output) -> None:
    first, again, other = (samples(shared_dataset, 14, seed=seed) for seed in (0, 0, 1))
    assert all(
        np.array_equal(a.indices, b.indices) and np.array_equal(a.driver, b.driver)
        for a, b in zip(first, again, strict=True)
    )
    assert [s.clip_id for s in first] != [s.clip_id for s in other]
    by_epoch = [{s.clip_id: tuple(s.indices) for s in half} for half in (first[:7], first[7:])]
    assert by_epoch[0].keys() == by_epoch[1].keys()
    assert by_epoch[0] != by_epoch[1]


def test_damaged_bytes_never_reach_training(dataset: Output) -> None:
    damage(dataset, "clip02", "video.mp4")
    made = samples(dataset, 7)
    assert "clip02" not in {sample.clip_id for sample in made}
    skipped = [entry for sample in made for entry in sample.skipped]
    assert [entry.clip_id for entry in skipped] == ["clip02"]
    assert skipped[0].reason == "the bytes of video.mp4 differ from the index's sha256"
