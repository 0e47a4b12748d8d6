"""Read a data set with `Dataset` and save a picture of all its streams."""

from __future__ import annotations

import cv2
import numpy as np
from small_set import WORK, small_set

from datagen.shards import Dataset

STREAMS = ("video", "swapped", "styled", "driving_video", "driving_swapped", "driving_styled", "mask")


def main() -> None:
    """One line of the picture for each clip: its middle frame in every stream, landmarks drawn on the first."""
    data = Dataset(small_set(), where="frames >= 20")
    lines = []
    for number in range(len(data)):
        row = data.row(number)
        middle = row["frames"] // 2
        pictures = []
        for stream in STREAMS:
            if f"{stream}.mp4" in data.suffixes(row):
                pictures.append(data.frames(row, stream, [middle])[0])  # (S, S, 3) uint8 RGB
            else:  # a clip may lack `swapped` or `styled`: its row says why
                pictures.append(np.zeros((row["size"], row["size"], 3), np.uint8))
        for x, y, _ in data.faces(row)["landmarks"][middle].astype(int):
            cv2.circle(pictures[0], (int(x), int(y)), 0, (0, 255, 0))
        lines.append(np.hstack(pictures))
    path = WORK / "grid.png"
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(lines), cv2.COLOR_RGB2BGR))
    print(f"{len(lines)} clips, from left to right {', '.join(STREAMS)}: look at {path}")


if __name__ == "__main__":
    main()
