"""Portraits of donors from clips: the best frame of a clip, cropped and checked as a donor."""

from __future__ import annotations

import hashlib
from pathlib import Path

from datagen.common.errors import Refusal
from datagen.donors.candidates import donor_columns, refusal_columns
from datagen.donors.donor import check_portrait
from datagen.faces import FaceAnalyser
from datagen.imaging.crop import ClipCrop
from datagen.media import VideoReader
from datagen.output.failures import refuse_unexpected
from datagen.output.schema import Row
from datagen.plan.tasks import PortraitCut, Refused
from datagen.sources.files import SourceFiles


def cut_portrait(
    cut: PortraitCut,
    analyser: FaceAnalyser,
    files: SourceFiles,
    scratch: Path,
    refused: Refused,
) -> Row:
    """Pool columns of the best frame of a clip; bad content of a source gives a refused row, never an exception.

    Args:
        cut: the chosen frame and its clip.
        analyser: face analysis.
        files: opens sources.
        scratch: folder for a member that is copied out of its archive.
        refused: clip id -> reason and message, for clips known to crash the process.
    """
    clip = cut.clip
    name = {"name": clip["clip_id"], **{key: cut.source[key] for key in ("source", "subject")}}
    try:
        if clip["clip_id"] in refused:
            raise Refusal(*refused[clip["clip_id"]])
        with (
            refuse_unexpected(),
            files.open(cut.source, scratch, clip["source_sha256"]) as opened,
            VideoReader(opened.path) as reader,
        ):
            if clip["donor_frame"] >= len(reader):
                raise Refusal("damaged", "the source is shorter than when it was curated")
            frame = reader.read([clip["donor_frame"]])[0]
            donor = check_portrait(ClipCrop(**clip["crop"]).cut(frame, clip["size"]), analyser)
    except Refusal as refusal:
        return name | refusal_columns(refusal)
    columns = donor_columns(donor)
    return name | columns | {"sha256": hashlib.sha256(columns["image"]).hexdigest()}
