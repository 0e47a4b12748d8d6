"""A small data set whose streams are not videos: enough for everything but decoding."""

from __future__ import annotations

from typing import Any

from datagen.output.paths import Output
from datagen.output.temporary import temporary
from datagen.shards.writer import ShardWriter, publish_unit, row_json


def clip_row(unit: str, number: int, **values: Any) -> dict[str, Any]:
    clip_id = f"clip{unit[-2:]}{number:02d}-0a1b2c3d-t0-f0"
    row = {
        "clip_id": clip_id,
        "unit": unit,
        "part": "p00000",
        "source": f"{unit}.mp4",
        "subject": f"person {number}",
        "split": "train",
        "frames": 33 + number,
        "fps": 25.0,
        "face_area": 0.1 * (number + 1),
        "face_boxes": [[1, 2, 3, 4]] * 3,
    }
    return row | values


def write_unit(output: Output, unit: str, clips: int = 2, failures: int = 0, **values: Any) -> bool:
    shard = ShardWriter(temporary(output.tmp, f"{unit}.tar"))
    rows = [clip_row(unit, number, **values) for number in range(clips)]
    for number, row in enumerate(rows):
        files = {"video.mp4": bytes([number]) * 700, "mask.mp4": b"", "json": row_json(row)}
        row["members"] = shard.add(row["clip_id"], files)
    failed = [
        {"part": "p00000", "unit": unit, "clip_id": f"lost{number}", "reason": "no_face", "attempt": 1}
        for number in range(failures)
    ]
    return publish_unit(output, unit, shard, rows, failed)
