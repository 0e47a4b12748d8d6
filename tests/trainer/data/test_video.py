"""Decoding of chosen frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datagen.media import decode_bytes
from datagen.output.paths import Output
from datagen.shards.reader import Dataset
from tests.trainer.data.made import make_dataset
from trainer.data.errors import StreamError
from trainer.data.video import decode


@pytest.mark.parametrize("gop", [1, 12, 250])
def test_decoding_gives_the_pixels_of_the_pipelines_decoder(tmp_path: Path, gop: int) -> None:
    output = make_dataset(tmp_path / "out", 1, frames=70, gop=gop, driving=("video",))
    data = Dataset(output.root)
    row = data.row(0)
    for name, grey in (("video", False), ("driving_video", True), ("mask", True)):
        content = data.read(row, f"{name}.mp4")
        for indices in (
            [0],
            [69],
            [3, 1, 2],
            [40, 5, 5, 60],
            [0, 13, 26, 69],
            [2, *range(30, 54, 2)],
            range(10, 58, 2),
            range(70),
        ):
            frames = decode(content, list(indices), 70, grey=grey)
            expected = sorted(set(indices))
            assert frames.numbers_N.tolist() == expected
            pixels = decode_bytes(content, expected)
            assert np.array_equal(frames.pixels, pixels[..., 0] if grey else pixels)


def test_streams_that_do_not_fit_are_errors(shared_dataset: Output) -> None:
    data = Dataset(shared_dataset.root)
    content = data.read("clip00", "video.mp4")
    with pytest.raises(StreamError, match="has 40 frames where the clip has 41"):
        decode(content, [0], 41, grey=False)
    with pytest.raises(StreamError, match="lacks 1 of the frames"):
        decode(content, [0, 40], 40, grey=False)
    for broken in (b"", b"no video", content[:-1000], content[: len(content) // 2]):
        with pytest.raises(StreamError):
            decode(broken, range(40), 40, grey=False)
