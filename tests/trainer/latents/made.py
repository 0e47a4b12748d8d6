"""Batches for a tiny image encoder."""

from __future__ import annotations

from itertools import islice
from typing import Any

from datagen.output.paths import Output
from trainer.data import Batch, DataConfig, DataSource, Loader, open_training_data
from trainer.model.config import TINY

SIDE = TINY.image_encoder.image_size


def batches(output: Output, count: int = 4, **config: Any) -> list[Batch]:
    settings = DataConfig(**{"frames": 4, "clip_size": SIDE} | config)
    data = open_training_data([DataSource(path=str(output.root))], settings, 0)
    return list(islice(Loader(data, 2), count))
