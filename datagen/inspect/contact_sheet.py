"""Contact sheet of a data set: a picture with one row per clip, source | swapped | styled | driving."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datagen.common.errors import UserError
from datagen.output.publish import disk_errors
from datagen.shards.reader import Dataset

TIMES = (0.15, 0.5, 0.85)  # times of the frames shown, as shares of the clip's length
TILE = 152
GAP = 2
COLUMN_GAP = 18
MARGIN = 24
PANEL = 330
HEADER = 72
ROW_GAP = 18
THUMBNAIL = 84

BACKGROUND, TEXT, FAINT_TEXT, EMPTY = (250, 250, 248), (28, 30, 34), (116, 120, 128), (232, 232, 228)
STREAMS = ("source", "swapped", "styled", "driving")
DRIVING = ("driving_swapped", "driving_styled", "driving_video")  # the first one that the clip has is shown

Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Painter:
    """The picture to draw on, and the fonts."""

    draw: ImageDraw.ImageDraw
    title: Any
    strong: Any
    plain: Any

    @classmethod
    def of(cls, picture: Image.Image) -> _Painter:
        sizes = (22, 15, 13)
        return cls(ImageDraw.Draw(picture), *(ImageFont.load_default(size) for size in sizes))

    def text(self, position: tuple[int, int], text: str, font: Any, width: int, colour: Any = TEXT) -> int:
        """Write `text`, wrapped to `width` pixels, at `position`; returns the y below it."""
        x, y = position
        for line in self._wrap(text, font, width):
            self.draw.text((x, y), line, font=font, fill=colour)
            y += int(font.size * 1.3)
        return y

    def _wrap(self, text: str, font: Any, width: int) -> list[str]:
        lines = [""]
        for word in text.replace("\n", " ").split(" "):
            longer = f"{lines[-1]} {word}".strip()
            if not lines[-1] or font.getlength(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
        return [_shorten(line, font, width) for line in lines]


def save_sheet(dataset: Dataset, clip_ids: Sequence[str], path: Path) -> None:
    """Write a PNG with one row per clip and a few frames of each stream, or the reason why a clip lacks it.

    Raises:
        UserError: there is no clip to show, a clip is unknown, or the file cannot be written.
    """
    if not clip_ids:
        raise UserError("no clip to show; widen --where")
    rows = [dataset.clip(clip_id) for clip_id in clip_ids]
    portraits = _portraits(dataset, {row["donor_sha256"] for row in rows if row["donor_sha256"]})
    picture = Image.new(
        "RGB", (_column(len(STREAMS)) - COLUMN_GAP + MARGIN, _top(len(rows)) - ROW_GAP + MARGIN), BACKGROUND
    )
    painter = _Painter.of(picture)
    _heading(painter, dataset, len(rows))
    for number, row in enumerate(rows):
        top = _top(number)
        lines = _numbers(row, _stored(dataset, row, "driving"))
        _panel(picture, painter, top, row, lines, portraits.get(row["donor_sha256"]))
        for column, stream in enumerate(STREAMS):
            _strip(picture, painter, (_column(column), top), dataset, row, stream)
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", optimize=True)
    try:
        with disk_errors(path.absolute().parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded.getvalue())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def _heading(painter: _Painter, dataset: Dataset, shown: int) -> None:
    name = Path(dataset.store.uri).name or dataset.store.uri
    painter.text((MARGIN, MARGIN - 6), name, painter.title, PANEL)
    painter.text((MARGIN, MARGIN + 22), f"{shown} of {len(dataset)} clips", painter.plain, PANEL, FAINT_TEXT)
    for column, stream in enumerate(STREAMS):
        painter.text((_column(column), MARGIN + 16), stream, painter.strong, 3 * TILE)


def _panel(
    picture: Image.Image,
    painter: _Painter,
    top: int,
    row: Row,
    lines: Iterable[str],
    portrait: Image.Image | None,
) -> None:
    """Left of the frames: the clip, its donor and style, and the main measures."""
    y = painter.text((MARGIN, top), row["clip_id"], painter.strong, PANEL - 12)
    y = painter.text((MARGIN, y), _facts(row), painter.plain, PANEL - 12, FAINT_TEXT) + 4
    left = MARGIN
    if portrait is not None:
        picture.paste(portrait, (MARGIN, y + 2))
        left += THUMBNAIL + 10
    for line in filter(None, lines):
        y = painter.text((left, y), line, painter.plain, MARGIN + PANEL - 12 - left)


def _strip(
    picture: Image.Image,
    painter: _Painter,
    position: tuple[int, int],
    dataset: Dataset,
    row: Row,
    stream: str,
) -> None:
    """A few frames of one stream, or an empty field with the reason why there is none."""
    x, y = position
    width = len(TIMES) * TILE + (len(TIMES) - 1) * GAP
    name = _stored(dataset, row, stream)
    if name is None:
        painter.draw.rectangle((x, y, x + width - 1, y + TILE - 1), fill=EMPTY)
        painter.text((x + 12, y + 12), _why_absent(row, stream), painter.plain, width - 24, FAINT_TEXT)
        return
    indices = [round(time * (row["frames"] - 1)) for time in TIMES]
    for number, frame in enumerate(dataset.frames(row, name, indices)):
        picture.paste(_tile(frame, TILE), (x + number * (TILE + GAP), y))


def _facts(row: Row) -> str:
    facts = [f"{row['frames']} frames", f"{row['fps']:g} fps"] if row["fps"] else [f"{row['frames']} frames"]
    if row["upscale"] is not None and row["upscale"] > 1:
        facts.append(f"enlarged {row['upscale']:.2f}")
    return ", ".join([*facts, row["split"] or ""]).strip(", ")


def _numbers(row: Row, driving: str | None) -> Iterable[str]:
    if row["donor"]:
        source, donor = row["identity_to_source"], row["identity_to_donor"]
        yield f"face of {row['donor']}"
        yield _joined("identity:", ("from source", source, ".2f"), ("from donor", donor, ".2f"))
        yield _joined(
            "", ("pose", row["swapped_pose_rms"], ".1f"), ("flicker", row["swapped_flicker"], ".2f")
        )
    if row["style"]:
        error, flicker = row["styled_landmark_error"], row["styled_flicker"]
        yield f"style: {row['style']}"
        yield _joined("", ("landmarks", error, ".3f"), ("flicker", flicker, ".2f"))
    if driving:
        yield f"driving: {driving.removeprefix('driving_').replace('video', 'source')}"


def _joined(start: str, *values: tuple[str, float | None, str]) -> str:
    parts = [f"{name} {value:{form}}" for name, value, form in values if value is not None]
    return f"{start} {', '.join(parts)}".strip()


def _stored(dataset: Dataset, row: Row, stream: str) -> str | None:
    """Name of the clip's file for the column `stream`, None if it has none."""
    names = {"source": ("video",), "driving": DRIVING}.get(stream, (stream,))
    present = set(dataset.suffixes(row))
    return next((name for name in names if f"{name}.mp4" in present), None)


def _why_absent(row: Row, stream: str) -> str:
    reason = {"swapped": row["swap_refused"], "styled": row["style_refused"]}.get(stream)
    return f"no {stream} stream: {reason}" if reason else f"no {stream} stream in this recipe"


def _portraits(dataset: Dataset, wanted: set[str]) -> dict[str, Image.Image]:
    """Thumbnails of donors, by the sha256 of their image, from the frozen pools that the output still has."""
    found: dict[str, Image.Image] = {}
    for name in dataset.store.names("plan/donors"):
        if wanted <= found.keys():
            break
        table = dataset.store.table("plan/donors", name, ["sha256", "image"])
        for sha256, image in zip(table["sha256"].to_pylist(), table["image"].to_pylist(), strict=True):
            if sha256 in wanted and image:
                with Image.open(io.BytesIO(image)) as opened:
                    found[sha256] = _tile(np.asarray(opened.convert("RGB")), THUMBNAIL)
    return found


def _tile(frame: np.ndarray, side: int) -> Image.Image:
    """The middle square of a frame (H, W, 3), resized to `side`."""
    height, width = frame.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = np.ascontiguousarray(frame[top : top + edge, left : left + edge])
    return Image.fromarray(square).resize((side, side), Image.Resampling.LANCZOS)


def _shorten(line: str, font: Any, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "...") > width:
        line = line[:-1]
    return line + "..."


def _column(number: int) -> int:
    return MARGIN + PANEL + number * (len(TIMES) * (TILE + GAP) - GAP + COLUMN_GAP)


def _top(number: int) -> int:
    return MARGIN + HEADER - 16 + number * (TILE + ROW_GAP)
