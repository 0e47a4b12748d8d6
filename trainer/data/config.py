"""What a training sample consists of: data sets, frames, drivers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from datagen.common.config import FrozenConfig

Kind = Literal["original", "swapped", "styled"]

KINDS: tuple[Kind, ...] = ("original", "swapped", "styled")
STREAM_OF: dict[Kind, str] = {"original": "video", "swapped": "swapped", "styled": "styled"}


class DataSource(FrozenConfig):
    """One data set, and which of its clips are used."""

    path: str = Field(description="output folder of the pipeline, or a URI such as s3://bucket/set")
    weight: float | None = Field(
        default=None, gt=0, description="share of the samples; empty: by its number of clips"
    )
    where: str | None = Field(
        default=None, description="SQL over the index columns, such as `gaze_movement > 0.05`"
    )


class Drivers(FrozenConfig):
    """Relative rates of the kinds of driving video. Where a clip lacks one, the others take its share."""

    original: float = Field(default=0.5, ge=0)
    swapped: float = Field(default=0.25, ge=0)
    styled: float = Field(default=0.25, ge=0)

    @model_validator(mode="after")
    def _something_to_draw(self) -> Drivers:
        if self.original + self.swapped + self.styled <= 0:
            raise ValueError("original, swapped and styled are all 0; give at least one a positive rate")
        return self

    def rate(self, kind: Kind) -> float:
        """Unnormalised rate of a kind."""
        return {"original": self.original, "swapped": self.swapped, "styled": self.styled}[kind]


class DataConfig(FrozenConfig):
    """How one training sample is made."""

    frames: int = Field(
        default=12, ge=1, le=256, description="frames of target and driver; 1 trains on images"
    )
    frame_rate: float = Field(
        default=12.5,
        gt=0,
        description="frames per second of a sample; the nearest rate that a whole stride gives",
    )
    references: int = Field(
        default=4, ge=0, description="candidate reference frames of a clip, fixed by its id; 0: any frame"
    )
    drivers: Drivers = Drivers()
    driving: Literal["online", "baked"] = Field(
        default="online",
        description="`online`: augment and mask the raw streams while training; `baked`: read the `driving_*` streams",
    )
    warp_rate: float = Field(
        default=0.25, ge=0, le=1, description="share of online drivers with another scale and aspect"
    )
    warp_low: float = Field(default=0.8, gt=0, le=1, description="smallest scale and aspect")
    warp_high: float = Field(default=1.2, ge=1, le=2, description="largest scale and aspect")
    mask: Literal["box", "hull"] = Field(
        default="box", description="what online drivers show: face box or hull"
    )
    precomputed: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="use latents and tokens of `precompute`; `auto`: if all clips have them; `always`; `never`",
    )
    clip_size: int = Field(default=224, ge=1, description="side of CLIP's input image in pixels")
    check_bytes: bool = Field(
        default=True, description="compare the bytes of every file with the sha256 in the index"
    )
