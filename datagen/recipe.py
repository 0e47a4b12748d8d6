"""What to do to the clips: every choice a run makes, with its default, its bounds and its unit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from datagen.common.config import FrozenConfig, merge, override, parse, read_yaml

Stream = Literal["video", "swapped", "styled"]
STREAMS: tuple[Stream, ...] = ("video", "swapped", "styled")


class Plan(FrozenConfig):
    """How the work is cut; part of the recipe because shard contents depend on it."""

    sources_per_part: int = Field(4, ge=1, le=100_000, description="source videos curated as one task")
    clips_per_unit: int = Field(8, ge=1, le=10_000, description="clips that make one shard")
    sources_per_wave: int = Field(
        20_000,
        ge=1,
        le=200_000,
        description="source videos whose groups, splits and donors are frozen together",
    )


class Curate(FrozenConfig):
    """From a source video to clips: one shot, one face, one fixed square."""

    size: int = Field(512, ge=64, le=2048, multiple_of=16, description="side of a clip in pixels")
    min_frames: int = Field(33, ge=1, description="shortest clip in frames")
    max_frames: int = Field(
        150, ge=1, le=1000, description="longest clip in frames; bounds memory per worker"
    )
    max_clips_per_source: int | None = Field(
        None, ge=1, description="clips taken from one source, longest first"
    )
    fps: float | None = Field(
        None, gt=0, le=120, description="frames per second of clips; empty keeps the source's"
    )
    max_fps: float = Field(30.0, gt=0, le=120, description="sources above are thinned by a whole factor")
    crop_scale: float = Field(2.0, ge=1.2, le=4, description="side of the crop over the median face box side")
    max_upscale: float = Field(2.0, ge=1, description="largest enlargement from source pixels to the clip")
    max_outside: float = Field(0.5, ge=0, le=0.9, description="largest share of the crop outside the picture")
    faces: Literal["largest", "all"] = Field("largest", description="faces of a shot that become clips")
    detect_every_s: float = Field(0.5, gt=0, description="seconds between looks for new faces")
    max_gap_s: float = Field(0.4, ge=0, description="longest loss of a face that a track bridges, in seconds")
    shot_threshold: float = Field(
        0.35, gt=0, le=1, description="histogram distance of neighbouring frames at a cut"
    )


class Gates(FrozenConfig):
    """Measured quality a clip must reach; what misses is a failure row with the number. Empty switches off."""

    min_luma: float | None = Field(5.0, ge=0, le=255, description="mean luma of the clip")
    min_face_area: float | None = Field(0.20, ge=0, le=1, description="squared face box over crop, median")
    min_sharpness: float | None = Field(
        None, ge=0, description="Laplacian variance of the face at 128 px, median"
    )
    max_yaw: float | None = Field(60.0, ge=0, le=90, description="median absolute yaw in degrees")
    min_presence: float = Field(
        0.5, ge=0, le=1, description="mesh presence below which a face counts as lost"
    )
    min_movement: float | None = Field(
        0.015,
        ge=0,
        description="movement of the face in itself; a photograph has about 0.01, a talking face 0.1",
    )
    min_gaze_movement: float | None = Field(
        None, ge=0, description="eye-movement subset: gaze standard deviation"
    )
    swap_pose_rms: float | None = Field(
        8.0, gt=0, description="head pose of swapped against source, degrees RMS"
    )
    swap_mouth_rms: float | None = Field(
        0.10, gt=0, description="mouth opening of swapped against source, RMS"
    )
    swap_eyes_rms: float | None = Field(0.10, gt=0, description="eye opening of swapped against source, RMS")
    swap_flicker: float | None = Field(3.0, gt=0, description="flicker of swapped over flicker of source")
    swap_min_distance: float | None = Field(0.35, ge=0, description="identity distance of swapped to source")
    style_landmarks: float | None = Field(
        0.08, gt=0, description="landmark error over the eye distance, mean"
    )
    style_pose_rms: float | None = Field(
        10.0, gt=0, description="head pose of styled against source, degrees RMS"
    )
    style_flicker: float | None = Field(4.0, gt=0, description="flicker of styled over flicker of source")


class Swap(FrozenConfig):
    """Another identity on the same motion."""

    backend: str = Field("mesh", description="mesh, off, or a backend another installed package offers")
    max_yaw_difference: float = Field(
        40.0, gt=0, le=90, description="refused beyond, degrees between face and donor"
    )
    identity_frames: int = Field(5, ge=1, le=100, description="frames sampled for identity distances")
    shape: float = Field(0.9, ge=0, le=1, description="how far the face geometry moves towards the donor's")

    @field_validator("backend", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: object) -> object:
        return "off" if value is False else value  # YAML reads a bare `off` as false


class Donors(FrozenConfig):
    """Where identities come from and which are good enough."""

    from_set: bool = Field(True, description="use the other people of the set when no --donors are given")
    bundled: bool = Field(
        True, description="top the pool up with the bundled portraits when no --donors are given"
    )
    min_distance: float = Field(
        0.6, ge=0, description="identity distance below which donor and source are one person"
    )
    max_pool: int = Field(512, ge=1, description="donors kept in one pool")
    drawn: bool = Field(False, description="accept drawn, painted or sculpted portraits")
    unknown_identity: bool = Field(
        False, description="give donors also to clips whose identity could not be measured"
    )
    tries: int = Field(
        3, ge=1, le=100, description="donors tried in turn where the swap refuses one for its pose"
    )


class Stylise(FrozenConfig):
    """Another look on the same motion."""

    backends: tuple[str, ...] = Field(
        ("arbitrary", "filter"),
        description="drawn from per clip: arbitrary, filter, or what another installed package offers; empty is off",
    )
    filters: tuple[str, ...] = Field(
        (), description="classic filters to draw from; empty takes the whole palette"
    )
    portraits: bool = Field(True, description="donors' portraits serve as styles too (appearance transfer)")
    strength: float = Field(
        0.8, gt=0, le=1, description="blend of style and content code of the arbitrary network"
    )


class Augment(FrozenConfig):
    """One scale and one aspect ratio per clip and stream, as the driving branch of the paper does."""

    rate: float = Field(1.0, ge=0, le=1, description="share of driving streams that are augmented")
    low: float = Field(0.8, gt=0, le=1, description="smallest factor")
    high: float = Field(1.2, ge=1, le=2, description="largest factor")


class Mask(FrozenConfig):
    """What of a driving frame is left visible."""

    mode: Literal["box", "hull"] = Field("box", description="squared face box with margins, or the mesh hull")
    foreground: bool = Field(True, description="store the person's foreground mask of the target video")


class Encode(FrozenConfig):
    """How streams are stored."""

    streams: tuple[Stream, ...] = Field(STREAMS, description="video streams kept beside the target")
    driving: tuple[Stream, ...] = Field(
        STREAMS, description="streams baked as augmented, masked, grey driving video"
    )
    crf: int = Field(18, ge=0, le=51, description="x264 constant rate factor")
    gop: int = Field(12, ge=1, le=300, description="frames between key frames; 12 reads fastest")
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"] = Field(
        "veryfast", description="x264 speed preset"
    )
    ffmpeg: str | None = Field(None, description="another ffmpeg binary, hashed into the recipe")

    @field_validator("streams")
    @classmethod
    def _target_is_kept(cls, value: tuple[Stream, ...]) -> tuple[Stream, ...]:
        if "video" not in value:
            raise ValueError("must contain 'video', the training target")
        return value


class Split(FrozenConfig):
    """Share of people and footage in each split; what belongs together is never divided."""

    val: float = Field(0.05, ge=0, lt=1, description="share of validation clips")
    test: float = Field(0.05, ge=0, lt=1, description="share of test clips")
    same_person: float = Field(
        0.45, ge=0, description="identity distance below which two clips show one person"
    )
    same_frame: int = Field(
        6, ge=0, le=32, description="bits of 64 in which the hashes of one frame may differ between copies"
    )


class Limits(FrozenConfig):
    """How long a task may take before its process is ended and the task counts as hanging.

    Not part of the recipe hash: it changes no byte, so a run may be continued with other limits.
    """

    task_s: float = Field(600.0, gt=0, description="seconds every task may take")
    frame_s: float = Field(5.0, ge=0, description="further seconds for each frame of the task")


class Recipe(FrozenConfig):
    """All of it. Its hash names the data set: same hash, same bytes."""

    seed: int = Field(0, ge=0, le=2**31 - 1, description="of every random choice")
    plan: Plan = Plan()
    curate: Curate = Curate()
    gates: Gates = Gates()
    donors: Donors = Donors()
    swap: Swap = Swap()
    stylise: Stylise = Stylise()
    augment: Augment = Augment()
    mask: Mask = Mask()
    encode: Encode = Encode()
    split: Split = Split()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _bounds_agree(self) -> Recipe:
        if self.curate.max_frames < self.curate.min_frames:
            raise ValueError(
                f"curate.max_frames = {self.curate.max_frames} is below "
                f"curate.min_frames = {self.curate.min_frames}; raise one or lower the other"
            )
        if self.split.val + self.split.test >= 1:
            raise ValueError("split.val + split.test must leave something to train on; lower them")
        return self

    @classmethod
    def load(cls, path: str | Path | None = None, *assignments: str) -> Recipe:
        """A recipe from a YAML file or the defaults, with single values changed: `Recipe.load("mine.yaml", "seed=1")`.

        Raises:
            UserError: a file that cannot be read, or a value that does not fit; the message names it.
        """
        return load_recipe(None if path is None else Path(path), list(assignments))

    @property
    def needs_portraits(self) -> bool:
        """Whether anything is made with portraits: swaps, or styles taken from them."""
        takes_style = self.stylise.portraits and any(name != "filter" for name in self.stylise.backends)
        return self.swap.backend != "off" or takes_style

    def canonical(self) -> str:
        """JSON with sorted keys and no spaces: the text whose hash names the recipe. Limits are left out."""
        shown = self.model_dump(mode="json", exclude={"limits"})
        return json.dumps(shown, sort_keys=True, separators=(",", ":"))


def load_recipe(path: Path | None, assignments: list[str], base: dict[str, Any] | None = None) -> Recipe:
    """Recipe of a file (or the defaults, or a manifest's `recipe:`), with `--set` assignments on top."""
    data = dict(base or {})
    where = "recipe"
    if path is not None:
        data = merge(data, read_yaml(path))
        where = str(path)
    return parse(Recipe, override(data, assignments), where)


def recipe_hash(recipe: Recipe, contents: dict[str, str]) -> str:
    """Hash over the recipe and the content hashes of models, donors and styles (name -> sha256)."""
    text = recipe.canonical() + json.dumps(contents, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
