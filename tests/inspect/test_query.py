"""Queries over a data set."""

from __future__ import annotations

import json

from datagen.inspect.query import clip_details, query, summary
from datagen.output.paths import Output
from datagen.shards import Dataset


def test_answers_are_plain_json_values(dataset: Output) -> None:
    data = Dataset(dataset.root)
    found = summary(data)
    assert json.loads(json.dumps(found)) == found
    assert (found["clips"], found["frames"], found["subjects"], found["splits"]) == (5, 169, 3, {"train": 5})
    assert found["streams"] == {"mask": 5, "video": 5} and found["failures"] == {"no_face": 1}
    assert found["medians"]["face_area"] == 0.2
    assert query(data, ["frames"])[0] == {"frames": 33}
    assert clip_details(data, data.row(0)["clip_id"])["files"]["video.mp4"] == 700
    assert summary(Dataset(dataset.root, "false"))["clips"] == 0
