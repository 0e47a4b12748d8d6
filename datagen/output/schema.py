"""Type and meaning of every column, in one place; `docs/format.md` is generated from here.

Tables: `plan/` (source videos in parts), `clips/` (the clip table, one piece per part), `plan/waves/` (what a wave
froze of each clip), `plan/donors/` (its donor pool), `index/` (one piece per unit) and `failures/` (one file per part
or unit). Lengths are in frames or seconds, boxes in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

S, I16, I32, I64 = pa.string(), pa.int16(), pa.int32(), pa.int64()
F32, F64, B = pa.float32(), pa.float64(), pa.bool_()

CROP = pa.struct([("x", I32), ("y", I32), ("size", I32)])
PADDING = pa.struct([("left", I32), ("top", I32), ("right", I32), ("bottom", I32)])
MEMBER = pa.struct([("name", S), ("offset", I64), ("size", I64), ("sha256", S)])
MODEL = pa.struct([("name", S), ("version", S), ("sha256", S), ("licence", S)])
AUGMENTATION = pa.struct([("stream", S), ("scale", F32), ("aspect", F32)])


@dataclass(frozen=True)
class Column:
    """One column: its name, Arrow type and meaning (with unit)."""

    name: str
    type: pa.DataType
    meaning: str


def schema_of(columns: tuple[Column, ...]) -> pa.Schema:
    """Arrow schema without metadata, so that files hold no times, hosts or library versions."""
    return pa.schema([pa.field(column.name, column.type) for column in columns])


PLAN = (
    Column("part", S, "part the source belongs to, `p00000` ..."),
    Column(
        "source",
        S,
        "path relative to its root, plus `::member` inside an archive; `<root>//` in front for all roots of an "
        "output but its first",
    ),
    Column("source_key", S, "source plus person and time range where annotations give them; names the clips"),
    Column("name", S, "unique readable stem of its clip ids"),
    Column("root", S, "name of the root it lies under; `plan/roots.json` says where that is now"),
    Column("path", pa.binary(), "path of the file or archive below the root, as the file system spells it"),
    Column("member", S, "name inside the archive, empty for plain files"),
    Column("size", I64, "bytes of the file or member"),
    Column("etag", S, "modification time in ns or the store's etag: tells that a source changed"),
    Column("dataset", S, "name of the manifest, or `input`"),
    Column("subject", S, "person id when known"),
    Column("group", S, "what must stay in one split, such as the video that clips were cut from, when known"),
    Column("start_s", F64, "annotated start in seconds, null for the whole source"),
    Column("end_s", F64, "annotated end in seconds, null for the whole source"),
    Column("licence", S, "licence the manifest states"),
    Column("consent", S, "consent terms the manifest states"),
    Column(
        "sharing", S, "whether derived clips may be passed on: allowed, same-licence, forbidden, unstated"
    ),
    Column("credit", S, "whom to name, where the licence asks for it"),
)

SOURCE = (
    Column("source", S, "source video, relative to the manifest's root"),
    Column("source_key", S, "source plus person and time range; names the clips"),
    Column("source_sha256", S, "sha256 of the source's bytes"),
    Column("dataset", S, "name of the manifest, or `input`"),
    Column("subject", S, "person id when known"),
    Column("group", S, "what must stay in one split, such as the video that clips were cut from, when known"),
    Column("start_s", F64, "start of the clip in the source, seconds"),
    Column("end_s", F64, "end of the clip in the source, seconds"),
    Column("licence", S, "licence of the footage"),
    Column("consent", S, "consent terms of the footage"),
    Column(
        "sharing", S, "whether derived clips may be passed on: allowed, same-licence, forbidden, unstated"
    ),
    Column("credit", S, "whom to name, where the licence asks for it"),
)

GROUPS = (
    Column("person", S, "same for all clips that show one person, by subject or by identity embedding"),
    Column(
        "duplicate_of",
        S,
        "hash of the earlier source that shows the same footage, as it stands in its clip ids (a name would stay when "
        "that source is withdrawn); null where none",
    ),
    Column("split", S, "train, val or test; clips that belong together, and their donors, share it"),
)

CLIP = (
    Column("frames", I32, "frames of every stream of the clip"),
    Column("fps", F64, "frames per second of every stream"),
    Column("size", I32, "side of the square in pixels"),
    Column("upscale", F32, "enlargement from source pixels to the clip, 1 where none"),
    Column("has_audio", B, "the source has sound (clips never do)"),
    Column("source_width", I32, "width of the displayed source picture in pixels"),
    Column("source_height", I32, "height of the displayed source picture in pixels"),
    Column("source_fps", F64, "average frames per second of the source"),
    Column("crop", CROP, "square in displayed source pixels; what lies outside the picture is black"),
    Column("padding", PADDING, "black source pixels on each side of the crop, where it leaves the picture"),
    Column(
        "face_boxes", pa.list_(pa.list_(I16, 4)), "per frame: brow-to-chin box x0, y0, x1, y1 in the clip"
    ),
    Column("face_area", F32, "squared face box over crop, median"),
    Column("face_area_min", F32, "squared face box over crop, smallest frame"),
    Column("luma", F32, "mean luma of the clip inside the picture, 0-255"),
    Column("sharpness", F32, "Laplacian variance of the face at 128 px, median"),
    Column("yaw_range", F32, "largest minus smallest yaw, degrees"),
    Column("yaw_median", F32, "median absolute yaw, degrees"),
    Column("gaze_movement", F32, "standard deviation of the gaze in eye widths"),
    Column("face_count", I32, "most faces seen at once in the shot"),
)

CLIPS = (
    Column("clip_id", S, "name of the clip: `<name>-<hash>-t<track>-f<first frame>`"),
    Column("part", S, "part of the plan"),
    *SOURCE,
    *CLIP,
    Column("source_frames", pa.list_(I32), "index in the source of every frame of the clip"),
    Column("embedding", pa.list_(F32), "identity embedding of the best frame"),
    Column("donor_score", F32, "how well the best frame serves as a donor, null where it does not"),
    Column("donor_frame", I32, "index in the source of the best frame"),
    Column(
        "frame_hashes",
        pa.list_(pa.uint64()),
        "perceptual hashes of whole source frames, two a second of the clip; flat frames have none",
    ),
)

WAVE = (
    Column("piece", S, "piece of the clip table: the part, `-r1` where it was curated again"),
    Column("unit", S, "unit that makes the clip first"),
    Column("clip_id", S, "name of the clip"),
    Column("source", S, "source video"),
    Column("source_key", S, "source plus person and time range"),
    Column("source_sha256", S, "sha256 of the source's bytes"),
    Column("dataset", S, "name of the manifest, or `input`"),
    Column("subject", S, "person id when known"),
    Column("group", S, "what must stay in one split, when known"),
    Column("frames", I32, "frames of the clip"),
    *GROUPS,
    Column("component", S, "same for all clips that must share a split"),
    Column("rank", I32, "number of the clip in its wave: whose turn it is to lend a face"),
    Column("embedding", pa.list_(F32), "identity embedding, which later waves are compared with"),
    Column("frame_hashes", pa.list_(pa.uint64()), "perceptual hashes, which later waves are compared with"),
)

DONORS = (
    Column("name", S, "name of the donor, unique in its pool"),
    Column("origin", S, "`set`, `donors` (the folder given) or `bundled`"),
    Column("licence", S, "licence of the portrait"),
    Column("source", S, "source video it was cut from, for donors of the set"),
    Column("subject", S, "person id when known"),
    Column("person", S, "person of the set it shows, where it shows one"),
    Column("split", S, "split whose clips it may lend its face to"),
    Column("sha256", S, "sha256 of the portrait's file; for donors of the set, of the stored portrait"),
    Column("score", F32, "how good a portrait it is, 0 to 1"),
    Column("embedding", pa.list_(F32), "identity embedding"),
    Column("landmarks", pa.list_(F32), "468 x 3 landmarks in the pixels of the stored crop"),
    Column("colour", B, "false for black-and-white portraits"),
    Column("image", pa.binary(), "PNG of the crop that lends the face, null where it was refused"),
    Column("reason", S, "why it was refused, null where it was not"),
    Column("message", S, "one line with the numbers"),
    Column("measure", S, "what was measured, where a number decided"),
    Column("value", F64, "the number"),
    Column("limit", F64, "what it had to reach"),
)

STREAM_QUALITY = tuple(
    Column(f"{stream}_{name}", F32, f"{stream} against source: {meaning}")
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
    Column("clip_id", S, "name of the clip; key of its members in the shard"),
    Column("unit", S, "unit the clip was made in, `p00000-u00`; a retry ends in `-r1`"),
    Column("part", S, "part of the plan"),
    Column("shard", S, "file under `shards/`"),
    Column("members", pa.list_(MEMBER), "files of the clip in the shard: name, byte offset, size, sha256"),
    *SOURCE,
    *GROUPS,
    *CLIP,
    Column("donor", S, "name of the donor, null where nothing was swapped"),
    Column("donor_sha256", S, "sha256 of the donor's image"),
    Column("donor_pool", S, "hash of the frozen donor pool"),
    Column("swapper", S, "swap backend; `mesh (weak)` marks the embedded one"),
    Column(
        "swap_refused", S, "why there is no swapped stream, null where there is one or none was asked for"
    ),
    Column("style", S, "name of the style, null where nothing was styled"),
    Column("style_sha256", S, "sha256 of the style's image or parameters"),
    Column("stylist", S, "style backend"),
    Column(
        "style_refused", S, "why there is no styled stream, null where there is one or none was asked for"
    ),
    Column("seed", I64, "recipe seed"),
    Column("augmentations", pa.list_(AUGMENTATION), "scale and aspect ratio of every driving stream"),
    Column("identity_to_source", F32, "identity distance of swapped to source, mean of sampled frames"),
    Column("identity_to_donor", F32, "identity distance of swapped to donor, mean of sampled frames"),
    Column("donor_to_source", F32, "identity distance of donor to source"),
    *STREAM_QUALITY,
    Column("models", pa.list_(MODEL), "networks used: name, version, sha256, licence"),
    Column("recipe_hash", S, "hash of recipe, models, donors and styles"),
    Column("software", S, "version of the package that made the clip"),
    Column("batch_layout", S, "batch sizes used, since they decide the last bits on a GPU"),
)

FAILURES = (
    Column("part", S, "part of the plan"),
    Column("unit", S, "unit, null while curating"),
    Column("source", S, "source video, relative to the manifest's root"),
    Column("clip_id", S, "clip, null where the whole source failed"),
    Column(
        "stream", S, "stream left out of a clip that is otherwise in the index, null where the clip failed"
    ),
    Column("stage", S, "curate, swap, stylise, encode ..."),
    Column("reason", S, "fixed word, see the list of reasons"),
    Column("message", S, "one line with the numbers"),
    Column("hint", S, "what can be done"),
    Column("measure", S, "what was measured, where a number decided"),
    Column("value", F64, "the number"),
    Column("limit", F64, "what it had to reach"),
    Column("attempt", I32, "1 for the first try"),
)

TABLES: dict[str, tuple[Column, ...]] = {
    "plan": PLAN,
    "clips": CLIPS,
    "waves": WAVE,
    "donors": DONORS,
    "index": INDEX,
    "failures": FAILURES,
}
