"""Identity, motion, flicker and time of the embedded swap and styles over a folder of real media.

    python -m benchmarks.quality --videos VIDEOS --portraits PORTRAITS --output OUT [--judge MODEL.onnx]

Writes OUT/quality.csv (one row per clip and donor or style), OUT/quality.md (the table of means), OUT/quality.png
(the plot) and OUT/sheet.png (source | swapped... per clip). `--judge` is a second identity network that the pipeline
does not use (112x112 RGB, ImageNet normalisation, MobileFaceNet style): cosine similarities, strangers near 0.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import onnxruntime

matplotlib.use("Agg")
from matplotlib import pyplot

from datagen.common.errors import Refusal
from datagen.donors.donor import Donor, check_portrait
from datagen.faces import FaceAnalyser, Faces
from datagen.imaging.crop import choose_crop
from datagen.media import VideoReader
from datagen.quality.flicker import flicker
from datagen.quality.identity import identity
from datagen.quality.motion import motion
from datagen.synthesise.stylise.arbitrary import ArbitraryStyle
from datagen.synthesise.stylise.filters import FILTERS, ClassicFilter
from datagen.synthesise.stylise.style import Style
from datagen.synthesise.swap.mesh import MeshSwap

SIDE, CROP_SCALE = 512, 2.0
FRONTAL_YAW = (
    25.0  # degrees; median of a clip's face against its donor's, below which a pair counts as frontal
)
ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)
Row = dict[str, str | float | None]


def main() -> None:
    options = _options()
    cv2.setNumThreads(1)
    analyser = FaceAnalyser()
    judge = _Judge(options.judge) if options.judge else None
    donors = list(_donors(options.portraits, analyser))
    styles = [Style(name, None, "filter") for name in FILTERS]
    styles += [Style(f"portrait {donor.name}", donor.image, "portrait") for donor in donors[: options.styles]]
    rows: list[Row] = []
    sheet = []
    videos = sorted(
        path for path in options.videos.iterdir() if path.suffix.lower() in (".mp4", ".mov", ".webm", ".mkv")
    )
    for number, path in enumerate(videos):
        try:
            frames, faces = _clip(path, options.frames, analyser)
        except Refusal as refusal:
            print(f"{path.name}: left out, {refusal}")
            continue
        tiles = [frames[len(frames) // 2]]
        for turn in range(min(options.donors, len(donors))):
            donor = donors[(number + turn * max(1, len(donors) // options.donors)) % len(donors)]
            row, swapped = _swap(frames, faces, donor, analyser, judge)
            rows.append({"clip": path.stem} | row)
            tiles.append(np.zeros_like(tiles[0]) if swapped is None else swapped[len(swapped) // 2])
        for turn in range(options.styles):
            style = styles[(number * options.styles + turn) % len(styles)]
            row, styled = _style(frames, faces, style, analyser)
            rows.append({"clip": path.stem} | row)
            tiles.append(styled[len(styled) // 2])
        sheet.append(
            np.hstack([cv2.resize(tile, (256, 256), interpolation=cv2.INTER_AREA) for tile in tiles])
        )
        print(f"{path.name}: {len(frames)} frames")
    options.output.mkdir(parents=True, exist_ok=True)
    _write(rows, options.output, judge is not None)
    cv2.imwrite(str(options.output / "sheet.png"), cv2.cvtColor(np.vstack(sheet), cv2.COLOR_RGB2BGR))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=Path, required=True, help="folder of talking-head videos")
    parser.add_argument(
        "--portraits", type=Path, required=True, help="folder of portraits; unfit ones are told and skipped"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for table, plot and contact sheet")
    parser.add_argument("--judge", type=Path, help="second identity network, ONNX")
    parser.add_argument("--frames", type=int, default=60, help="frames per clip (default 60)")
    parser.add_argument("--donors", type=int, default=3, help="donors per clip (default 3)")
    parser.add_argument("--styles", type=int, default=3, help="styles per clip (default 3)")
    return parser.parse_args()


def _donors(folder: Path, analyser: FaceAnalyser) -> Iterator[Donor]:
    for path in sorted(folder.iterdir()):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            continue
        try:
            yield check_portrait(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), analyser, name=path.stem)
        except Refusal as refusal:
            print(f"donor {path.name}: {refusal}")


def _clip(path: Path, count: int, analyser: FaceAnalyser) -> tuple[np.ndarray, Faces]:
    """The first frames of the largest face, as the pipeline crops them."""
    with VideoReader(path) as reader:
        frames = reader.read(range(min(count, len(reader))))
    found = analyser.track(frames)
    seen = found.presence > 0
    if seen.mean() < 0.9:
        raise Refusal("no_face", f"a face in {seen.mean():.0%} of the frames only")
    crop = choose_crop(found.box[seen], frames.shape[2], frames.shape[1], CROP_SCALE)
    square = np.stack([crop.cut(frame, SIDE) for frame in frames])
    faces = analyser.track(square)
    if (faces.presence > 0).mean() < 0.9:
        raise Refusal("no_face", "the face is lost in the crop")
    return square, faces


def _swap(
    frames: np.ndarray, faces: Faces, donor: Donor, analyser: FaceAnalyser, judge: _Judge | None
) -> tuple[Row, np.ndarray | None]:
    row: Row = {"operation": "swap", "with": donor.name}
    try:
        swapped, spent = _timed(lambda: MeshSwap()(frames, faces, donor))
    except Refusal as refusal:
        return row | {"refused": str(refusal)}, None
    again = analyser.track(swapped)
    row |= _kept(frames, faces, swapped, again) | {"ms": spent / len(frames)}
    row |= asdict(identity(frames, faces, swapped, again, donor.embedding, analyser, 5))
    if judge is not None:
        row |= judge.compare(frames, faces, swapped, again, donor)
    return row, swapped


def _style(frames: np.ndarray, faces: Faces, style: Style, analyser: FaceAnalyser) -> tuple[Row, np.ndarray]:
    stylist = ClassicFilter() if style.kind == "filter" else ArbitraryStyle()
    styled, spent = _timed(lambda: stylist(frames, faces, style))
    row = _kept(frames, faces, styled, analyser.track(styled))
    return {"operation": stylist.name, "with": style.name, "ms": spent / len(frames)} | row, styled


def _kept(frames: np.ndarray, faces: Faces, other: np.ndarray, again: Faces) -> Row:
    """Motion and flicker, or that no face was found."""
    try:
        return asdict(motion(faces, again)) | {"flicker": flicker(frames, other, faces)}
    except Refusal as refusal:
        return {"refused": str(refusal), "lost": 1.0}


def _timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """Result and processor milliseconds."""
    started = time.process_time()
    result = work()
    return result, 1000 * (time.process_time() - started)


class _Judge:
    """A second identity network, to check the results of the first."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def embed(self, rgb_HWC: np.ndarray, landmarks_NC: np.ndarray) -> np.ndarray:
        """Unit embedding of the face aligned by eyes, nose and mouth."""
        flat = landmarks_NC[:, :2]
        eyes = (flat[[33, 133, 159, 145]].mean(axis=0), flat[[263, 362, 386, 374]].mean(axis=0))
        points = np.array([*eyes, flat[[1, 4]].mean(axis=0), flat[61], flat[291]], np.float32)
        matrix, _ = cv2.estimateAffinePartial2D(points, ARCFACE_POINTS, method=cv2.LMEDS)
        face = cv2.warpAffine(rgb_HWC, matrix, (112, 112), flags=cv2.INTER_AREA)
        normal = (face.astype(np.float32) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        name = self._session.get_inputs()[0].name
        output = self._session.run(None, {name: normal.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
        return output / np.linalg.norm(output)

    def compare(
        self, frames: np.ndarray, faces: Faces, swapped: np.ndarray, again: Faces, donor: Donor
    ) -> Row:
        """Mean cosines and the share of frames closer to the donor, on ten frames."""
        wanted = self.embed(donor.image, donor.landmarks)
        to_source, to_donor = [], []
        for index in np.unique(np.linspace(0, len(frames) - 1, 10).astype(int)):
            if min(faces.presence[index], again.presence[index]) == 0:
                continue
            result = self.embed(swapped[index], again.landmarks[index])
            to_source.append(float(result @ self.embed(frames[index], faces.landmarks[index])))
            to_donor.append(float(result @ wanted))
        before = float(wanted @ self.embed(frames[0], faces.landmarks[0])) if faces.presence[0] else None
        return {
            "judge_source": float(np.mean(to_source)),
            "judge_donor": float(np.mean(to_donor)),
            "judge_closer": float(np.mean(np.greater(to_donor, to_source))),
            "judge_before": before,
        }


def _write(rows: list[Row], output: Path, judged: bool) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with (output / "quality.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    shown = [
        "pose_rms",
        "mouth_rms",
        "eyes_rms",
        "pose_corr",
        "mouth_corr",
        "eyes_corr",
        "landmark_error",
        "flicker",
    ]
    shown += ["lost", "to_source", "to_donor", "closer"]
    shown += ["judge_before", "judge_source", "judge_donor", "judge_closer"] if judged else []
    shown += ["ms"]
    lines = [
        f"Means over {len({row['clip'] for row in rows})} clips, {platform.processor() or platform.machine()}, "
        f"{os.cpu_count()} cores, one used. `ms` is processor time per frame.",
        "",
        "| operation | results | refused | " + " | ".join(shown) + " |",
        "|---" * (3 + len(shown)) + "|",
    ]
    for operation in dict.fromkeys(row["operation"] for row in rows):
        mine = [row for row in rows if row["operation"] == operation]
        made = [row for row in mine if "refused" not in row]
        values = [_mean(made, name) for name in shown]
        lines.append(f"| {operation} | {len(made)} | {len(mine) - len(made)} | " + " | ".join(values) + " |")
    text = "\n".join(lines) + "\n"
    (output / "quality.md").write_text(text)
    print(text)
    _plot([row for row in rows if "refused" not in row], output / "quality.png", judged)


def _mean(rows: list[Row], name: str) -> str:
    values = [float(row[name]) for row in rows if isinstance(row.get(name), (int, float))]
    return f"{np.mean(values):.3g}" if values else ""


def _plot(rows: list[Row], path: Path, judged: bool) -> None:
    swaps = [row for row in rows if row["operation"] == "swap"]
    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    left.scatter(
        [row["to_source"] for row in swaps], [row["to_donor"] for row in swaps], label="dlib distance"
    )
    if judged:
        far = ([1 - float(row[f"judge_{side}"] or 0) for row in swaps] for side in ("source", "donor"))
        left.scatter(*far, marker="x", label="judge, 1 - cosine")
    left.axline((0.3, 0.3), slope=1, color="grey", linewidth=0.8)
    left.set(
        xlabel="swapped to source", ylabel="swapped to donor", title="identity: below the line is the donor's"
    )
    left.legend()
    kinds = list(dict.fromkeys(str(row["operation"]) for row in rows))
    for offset, name in enumerate(("mouth_rms", "eyes_rms", "landmark_error")):
        values = [[float(row[name] or 0) for row in rows if row["operation"] == kind] for kind in kinds]
        places = np.arange(len(kinds)) + 0.25 * (offset - 1)
        middle.boxplot(
            values, positions=places, widths=0.2, patch_artist=True, boxprops={"facecolor": f"C{offset}"}
        )
        middle.plot([], color=f"C{offset}", label=name)
    middle.set_xticks(range(len(kinds)), kinds)
    middle.set(title="motion: difference to the source")
    middle.legend()
    right.boxplot(
        [[float(row["flicker"] or 0) for row in rows if row["operation"] == kind] for kind in kinds]
    )
    right.set_xticks(range(1, len(kinds) + 1), kinds)
    right.axhline(1, color="grey", linewidth=0.8)
    right.set(title="flicker over the source's")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
