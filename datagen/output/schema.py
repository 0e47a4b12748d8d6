"""Type and meaning of every column; `docs/format.md` is generated from this file.

Tables: `plan/` (source videos in parts), `clips/` (clip tables, one per part), `plan/waves/` (frozen columns of the
clips of a wave), `plan/donors/` (donor pool of a wave), `index/` (one piece per unit) and `failures/` (one file per
part or unit). Lengths are in frames or seconds, boxes in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

STRING, INT16, INT32, INT64 = pa.string(), pa.int16(), pa.int32(), pa.int64()
FLOAT32, FLOAT64, BOOL = pa.float32(), pa.float64(), pa.bool_()

CROP = pa.struct([("x", INT32), ("y", INT32), ("size", INT32)])
PADDING = pa.struct([("left", INT32), ("top", INT32), ("right", INT32), ("bottom", INT32)])
MEMBER = pa.struct([("name", STRING), ("offset", INT64), ("size", INT64), ("sha256", STRING)])
MODEL = pa.struct([("name", STRING), ("version", STRING), ("sha256", STRING), ("licence", STRING)])
AUGMENTATION = pa.struct([("stream", STRING), ("scale", FLOAT32), ("aspect", FLOAT32)])


Row = dict[str, Any]
"""One row of a table as pyarrow returns it: column -> value. The tables below define the columns."""


@dataclass(frozen=True)
class Column:
    """One column: name, Arrow type and meaning with unit."""

    name: str
    type: pa.DataType
    meaning: str


def schema_of(columns: tuple[Column, ...]) -> pa.Schema:
    """Arrow schema without metadata, so that files hold no times, hosts or library versions."""
    return pa.schema([pa.field(column.name, column.type) for column in columns])


PLAN = (
    Column("part", STRING, "part the source belongs to, `p00000` ..."),
    Column(
        "source",
        STRING,
        "path relative to its root, plus `::member` inside an archive; for all roots of an output but the first, "
        "`<root>//` comes before it",
    ),
    Column(
        "source_key",
        STRING,
        "source plus person and time range if annotations give them; clips are named after it",
    ),
    Column("name", STRING, "unique readable start of its clip ids"),
    Column("root", STRING, "name of its root; `plan/roots.json` has the current folder of the root"),
    Column("path", pa.binary(), "path of the file or archive below the root, as the file system spells it"),
    Column("member", STRING, "name inside the archive, empty for plain files"),
    Column("size", INT64, "bytes of the file or member"),
    Column("etag", STRING, "modification time in ns or the store's etag; shows that a source changed"),
    Column("dataset", STRING, "name of the manifest, or `input`"),
    Column("subject", STRING, "person id when known"),
    Column(
        "group", STRING, "what must stay in one split, such as the video that clips were cut from, when known"
    ),
    Column("start_s", FLOAT64, "annotated start in seconds, null for the whole source"),
    Column("end_s", FLOAT64, "annotated end in seconds, null for the whole source"),
    Column("licence", STRING, "licence the manifest states"),
    Column("consent", STRING, "consent terms the manifest states"),
    Column(
        "sharing",
        STRING,
        "whether derived clips may be passed on: allowed, same-licence, forbidden, unstated",
    ),
    Column("credit", STRING, "whom to name, where the licence asks for it"),
)

SOURCE = (
    Column("source", STRING, "source video, relative to the manifest's root"),
    Column("source_key", STRING, "source plus person and time range; names the clips"),
    Column("source_sha256", STRING, "sha256 of the source's bytes"),
    Column("dataset", STRING, "name of the manifest, or `input`"),
    Column("subject", STRING, "person id when known"),
    Column(
        "group", STRING, "what must stay in one split, such as the video that clips were cut from, when known"
    ),
    Column("start_s", FLOAT64, "start of the clip in the source, seconds"),
    Column("end_s", FLOAT64, "end of the clip in the source, seconds"),
    Column("licence", STRING, "licence of the footage"),
    Column("consent", STRING, "consent terms of the footage"),
    Column(
        "sharing",
        STRING,
        "whether derived clips may be passed on: allowed, same-licence, forbidden, unstated",
    ),
    Column("credit", STRING, "whom to name, where the licence asks for it"),
)

GROUPS = (
    Column("person", STRING, "same for all clips that show one person, by subject or by identity embedding"),
    Column(
        "duplicate_of",
        STRING,
        "hash of the earlier source that shows the same footage, as it stands in its clip ids (a name would stay when "
        "that source is withdrawn); null where none",
    ),
    Column("split", STRING, "train, val or test; clips that belong together, and their donors, share it"),
)

CLIP = (
    Column("frames", INT32, "frames of every stream of the clip"),
    Column("fps", FLOAT64, "frames per second of every stream"),
    Column("size", INT32, "side of the square in pixels"),
    Column("upscale", FLOAT32, "enlargement from source pixels to the clip, 1 where none"),
    Column("has_audio", BOOL, "the source has sound (clips never do)"),
    Column("source_width", INT32, "width of the displayed source picture in pixels"),
    Column("source_height", INT32, "height of the displayed source picture in pixels"),
    Column("source_fps", FLOAT64, "average frames per second of the source"),
    Column("crop", CROP, "square in displayed source pixels; what lies outside the picture is black"),
    Column("padding", PADDING, "black source pixels on each side of the crop, where it leaves the picture"),
    Column(
        "face_boxes", pa.list_(pa.list_(INT16, 4)), "per frame: brow-to-chin box x0, y0, x1, y1 in the clip"
    ),
    Column("face_area", FLOAT32, "squared face box over crop, median"),
    Column("face_area_min", FLOAT32, "squared face box over crop, smallest frame"),
    Column("luma", FLOAT32, "mean luma of the clip inside the picture, 0-255"),
    Column("sharpness", FLOAT32, "Laplacian variance of the face at 128 px, median"),
    Column("yaw_range", FLOAT32, "largest minus smallest yaw, degrees"),
    Column("yaw_median", FLOAT32, "median absolute yaw, degrees"),
    Column("gaze_movement", FLOAT32, "standard deviation of the gaze in eye widths"),
    Column("face_count", INT32, "most faces seen at once in the shot"),
)

CLIPS = (
    Column("clip_id", STRING, "name of the clip: `<name>-<hash>-t<track>-f<first frame>`"),
    Column("part", STRING, "part of the plan"),
    *SOURCE,
    *CLIP,
    Column("source_frames", pa.list_(INT32), "index in the source of every frame of the clip"),
    Column("embedding", pa.list_(FLOAT32), "identity embedding of the best frame"),
    Column("donor_score", FLOAT32, "how suitable the best frame is as a donor portrait, null if it is not"),
    Column("donor_frame", INT32, "index in the source of the best frame"),
    Column(
        "frame_hashes",
        pa.list_(pa.uint64()),
        "perceptual hashes of whole source frames, two per second of the clip; uniform frames have none",
    ),
)

WAVE = (
    Column("piece", STRING, "clip table that holds the clip: the part, with `-r1` if it was curated again"),
    Column("unit", STRING, "unit in which the clip is made the first time"),
    Column("clip_id", STRING, "name of the clip"),
    Column("source", STRING, "source video"),
    Column("source_key", STRING, "source plus person and time range"),
    Column("source_sha256", STRING, "sha256 of the source's bytes"),
    Column("dataset", STRING, "name of the manifest, or `input`"),
    Column("subject", STRING, "person id when known"),
    Column("group", STRING, "what must stay in one split, when known"),
    Column("frames", INT32, "frames of the clip"),
    *GROUPS,
    Column("component", STRING, "id of the group; all clips that must share a split have the same"),
    Column("rank", INT32, "number of the clip in its wave and split; it decides which donor comes first"),
    Column("embedding", pa.list_(FLOAT32), "identity embedding, compared with those of later waves"),
    Column("frame_hashes", pa.list_(pa.uint64()), "perceptual hashes, compared with those of later waves"),
)

DONORS = (
    Column("name", STRING, "name of the donor, unique in its pool"),
    Column("origin", STRING, "`set`, `donors` (the folder given) or `bundled`"),
    Column("licence", STRING, "licence of the portrait"),
    Column("source", STRING, "source video it was cut from, null for other portraits"),
    Column("subject", STRING, "person id when known"),
    Column("person", STRING, "person of the set that it shows, null if it shows none"),
    Column("split", STRING, "split whose clips may use this donor"),
    Column(
        "sha256",
        STRING,
        "sha256 of the portrait's file; for portraits cut from the set, of the stored portrait",
    ),
    Column("score", FLOAT32, "quality of the portrait, 0 to 1"),
    Column("embedding", pa.list_(FLOAT32), "identity embedding"),
    Column("landmarks", pa.list_(FLOAT32), "468 x 3 landmarks in the pixels of the stored crop"),
    Column("colour", BOOL, "false for black-and-white portraits"),
    Column("image", pa.binary(), "PNG of the face crop, null if it was refused"),
    Column("reason", STRING, "why it was refused, null if it was not"),
    Column("message", STRING, "one line with the numbers"),
    Column("measure", STRING, "what was measured, if a number decided"),
    Column("value", FLOAT64, "the measured value"),
    Column("limit", FLOAT64, "the limit for the value"),
)

STREAM_QUALITY = tuple(
    Column(f"{stream}_{name}", FLOAT32, f"{stream} against source: {meaning}")
    for stream in ("swapped", "styled")
    for name, meaning in (
        ("pose_rms", "head pose RMS difference, degrees"),
        ("mouth_rms", "mouth opening RMS difference, in eye distances"),
        ("eyes_rms", "eye opening RMS difference, in eye widths"),
        ("pose_corr", "yaw correlation, null where the source hardly moves"),
        ("mouth_corr", "mouth opening correlation, null where the source hardly moves"),
        ("eyes_corr", "eye opening correlation, null where the source hardly moves"),
        ("landmark_error", "mean landmark distance over the eye distance"),
        ("flicker", "temporal flicker over the source's"),
    )
)

INDEX = (
    Column("clip_id", STRING, "name of the clip; key of its members in the shard"),
    Column("unit", STRING, "unit the clip was made in, `p00000-u00`; a retry ends in `-r1`"),
    Column("part", STRING, "part of the plan"),
    Column("shard", STRING, "file under `shards/`"),
    Column("members", pa.list_(MEMBER), "files of the clip in the shard: name, byte offset, size, sha256"),
    *SOURCE,
    *GROUPS,
    *CLIP,
    Column("donor", STRING, "name of the donor, null where nothing was swapped"),
    Column("donor_sha256", STRING, "sha256 of the donor's image"),
    Column("donor_pool", STRING, "hash of the frozen donor pool"),
    Column("swapper", STRING, "swap backend; `mesh (weak)` marks the embedded one"),
    Column(
        "swap_refused",
        STRING,
        "why there is no swapped stream, null where there is one or none was asked for",
    ),
    Column("style", STRING, "name of the style, null where nothing was styled"),
    Column("style_sha256", STRING, "sha256 of the style's image or parameters"),
    Column("stylist", STRING, "style backend"),
    Column(
        "style_refused",
        STRING,
        "why there is no styled stream, null where there is one or none was asked for",
    ),
    Column("seed", INT64, "recipe seed"),
    Column("augmentations", pa.list_(AUGMENTATION), "scale and aspect ratio of every driving stream"),
    Column("identity_to_source", FLOAT32, "identity distance of swapped to source, mean of sampled frames"),
    Column("identity_to_donor", FLOAT32, "identity distance of swapped to donor, mean of sampled frames"),
    Column("donor_to_source", FLOAT32, "identity distance of donor to source"),
    *STREAM_QUALITY,
    Column("models", pa.list_(MODEL), "networks used: name, version, sha256, licence"),
    Column("recipe_hash", STRING, "hash of recipe, models, donors and styles"),
    Column("software", STRING, "version of the package that made the clip"),
    Column("batch_layout", STRING, "batch sizes used, since they decide the last bits on a GPU"),
)

FAILURES = (
    Column("part", STRING, "part of the plan"),
    Column("unit", STRING, "unit, null for failures of curation"),
    Column("source", STRING, "source video, relative to the manifest's root"),
    Column("clip_id", STRING, "clip, null if the whole source failed"),
    Column(
        "stream",
        STRING,
        "stream that is missing from a clip in the index, null if the whole clip failed",
    ),
    Column("stage", STRING, "curate, swap, stylise, encode ..."),
    Column("reason", STRING, "one of the reasons listed below"),
    Column("message", STRING, "one line with the numbers"),
    Column("hint", STRING, "what can be done"),
    Column("measure", STRING, "what was measured, if a number decided"),
    Column("value", FLOAT64, "the measured value"),
    Column("limit", FLOAT64, "the limit for the value"),
    Column("attempt", INT32, "1 for the first try"),
)

TABLES: dict[str, tuple[Column, ...]] = {
    "plan": PLAN,
    "clips": CLIPS,
    "waves": WAVE,
    "donors": DONORS,
    "index": INDEX,
    "failures": FAILURES,
}
