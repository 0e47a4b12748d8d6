"""The recipe: all settings of a run, with default, bounds and unit."""

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
    """How the work is divided. It is part of the recipe because the contents of shards depend on it."""

    sources_per_part: int = Field(
        default=4, ge=1, le=100_000, description="source videos that one task curates"
    )
    clips_per_unit: int = Field(default=8, ge=1, le=10_000, description="clips that make one shard")
    sources_per_wave: int = Field(
        default=20_000,
        ge=1,
        le=200_000,
        description="source videos whose groups, splits and donors are frozen together",
    )


class Curate(FrozenConfig):
    """How clips are cut from a source video: one shot, one face, one fixed square crop."""

    size: int = Field(default=512, ge=64, le=2048, multiple_of=16, description="side of a clip in pixels")
    min_frames: int = Field(default=33, ge=1, description="shortest clip in frames")
    max_frames: int = Field(
        default=150, ge=1, le=1000, description="longest clip in frames; bounds memory per worker"
    )
    max_clips_per_source: int | None = Field(
        default=None, ge=1, description="clips taken from one source, longest first"
    )
    fps: float | None = Field(
        default=None, gt=0, le=120, description="frames per second of clips; empty keeps those of the source"
    )
    max_fps: float = Field(
        default=30.0,
        gt=0,
        le=120,
        description="sources with more frames per second are reduced by a whole factor",
    )
    crop_scale: float = Field(
        default=2.0, ge=1.2, le=4, description="side of the crop relative to the median side of the face box"
    )
    max_upscale: float = Field(
        default=2.0, ge=1, description="largest enlargement from source pixels to the clip"
    )
    max_outside: float = Field(
        default=0.5, ge=0, le=0.9, description="largest share of the crop that lies outside the picture"
    )
    faces: Literal["largest", "all"] = Field(
        default="largest", description="which faces of a shot become clips"
    )
    detect_every_s: float = Field(
        default=0.5, gt=0, description="seconds between two detections of new faces"
    )
    max_gap_s: float = Field(
        default=0.4, ge=0, description="longest gap without the face that a track bridges, in seconds"
    )
    shot_threshold: float = Field(
        default=0.35,
        gt=0,
        le=1,
        description="a larger histogram distance of two neighbouring frames counts as a cut",
    )


class Gates(FrozenConfig):
    """Quality that a clip must reach; otherwise it becomes a failure row with the number. Empty switches a gate off."""

    min_luma: float | None = Field(default=5.0, ge=0, le=255, description="mean luma of the clip")
    min_face_area: float | None = Field(
        default=0.20, ge=0, le=1, description="area of the squared face box relative to the crop, median"
    )
    min_sharpness: float | None = Field(
        default=None, ge=0, description="Laplacian variance of the face at 128 px, median"
    )
    max_yaw: float | None = Field(default=60.0, ge=0, le=90, description="median absolute yaw in degrees")
    min_presence: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="a face counts as lost if the presence score of the mesh is lower",
    )
    min_movement: float | None = Field(
        default=0.015,
        ge=0,
        description="movement inside the face; a photograph has about 0.01, a talking face 0.1",
    )
    min_gaze_movement: float | None = Field(
        default=None, ge=0, description="smallest standard deviation of the gaze, for an eye-movement subset"
    )
    swap_pose_rms: float | None = Field(
        default=8.0, gt=0, description="head pose of swapped compared with source, degrees RMS"
    )
    swap_mouth_rms: float | None = Field(
        default=0.10, gt=0, description="mouth opening of swapped compared with source, RMS"
    )
    swap_eyes_rms: float | None = Field(
        default=0.10, gt=0, description="eye opening of swapped compared with source, RMS"
    )
    swap_flicker: float | None = Field(default=3.0, gt=0, description="flicker of swapped relative to source")
    swap_min_distance: float | None = Field(
        default=0.35, ge=0, description="identity distance of swapped to source"
    )
    style_landmarks: float | None = Field(
        default=0.08, gt=0, description="landmark error relative to the eye distance, mean"
    )
    style_pose_rms: float | None = Field(
        default=10.0, gt=0, description="head pose of styled compared with source, degrees RMS"
    )
    style_flicker: float | None = Field(default=4.0, gt=0, description="flicker of styled relative to source")


class Swap(FrozenConfig):
    """Face swap: another identity with the same motion."""

    backend: str = Field(default="mesh", description="mesh, off, or a backend of another installed package")
    max_yaw_difference: float = Field(
        default=40.0,
        gt=0,
        le=90,
        description="largest yaw difference between face and donor, degrees; others are refused",
    )
    identity_frames: int = Field(
        default=5, ge=1, le=100, description="frames sampled to measure identity distances"
    )
    shape: float = Field(
        default=0.9, ge=0, le=1, description="how far the face geometry moves towards the donor's"
    )

    @field_validator("backend", mode="before")
    @classmethod
    def _false_means_off(cls, value: object) -> object:
        return "off" if value is False else value  # YAML reads a bare `off` as false


class Donors(FrozenConfig):
    """Where donors come from, and which are accepted."""

    from_set: bool = Field(
        default=True, description="use other people of the set as donors if no --donors are given"
    )
    bundled: bool = Field(
        default=True, description="add the bundled portraits to the pool if no --donors are given"
    )
    min_distance: float = Field(
        default=0.6,
        ge=0,
        description="donor and source count as the same person below this identity distance",
    )
    max_pool: int = Field(default=512, ge=1, description="largest number of donors in a pool")
    drawn: bool = Field(default=False, description="accept drawn, painted or sculpted portraits")
    unknown_identity: bool = Field(
        default=False, description="also swap clips whose identity could not be measured"
    )
    tries: int = Field(
        default=3, ge=1, le=100, description="donors to try if the swap refuses one because of its pose"
    )


class Stylise(FrozenConfig):
    """Stylisation: another look with the same motion."""

    backends: tuple[str, ...] = Field(
        default=("arbitrary", "filter"),
        description="one is drawn per clip: arbitrary, filter, or a backend of another installed package; empty is off",
    )
    filters: tuple[str, ...] = Field(
        default=(), description="classic filters to draw from; empty uses all of them"
    )
    portraits: bool = Field(
        default=True, description="use portraits of donors as styles too (appearance transfer)"
    )
    strength: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="arbitrary network: weight of the style's code against the clip's own code",
    )


class Augment(FrozenConfig):
    """One scale and one aspect ratio per clip and stream, as the driving branch of the paper does."""

    rate: float = Field(default=1.0, ge=0, le=1, description="share of driving streams that are augmented")
    low: float = Field(default=0.8, gt=0, le=1, description="smallest factor")
    high: float = Field(default=1.2, ge=1, le=2, description="largest factor")


class Mask(FrozenConfig):
    """Which part of a driving frame stays visible."""

    mode: Literal["box", "hull"] = Field(
        default="box", description="squared face box with margins, or the hull of the face mesh"
    )
    foreground: bool = Field(
        default=True, description="store a foreground mask of the person in the target video"
    )


class Encode(FrozenConfig):
    """How streams are stored."""

    streams: tuple[Stream, ...] = Field(
        default=STREAMS, description="video streams to store; must contain `video`, the target"
    )
    driving: tuple[Stream, ...] = Field(
        default=STREAMS,
        description="streams from which an augmented, masked, grey driving video is made and stored",
    )
    crf: int = Field(default=18, ge=0, le=51, description="x264 constant rate factor")
    gop: int = Field(default=12, ge=1, le=300, description="frames between key frames; 12 is fastest to read")
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"] = Field(
        default="veryfast", description="x264 speed preset"
    )
    ffmpeg: str | None = Field(
        default=None, description="path of another ffmpeg binary; its hash becomes part of the recipe hash"
    )

    @field_validator("streams")
    @classmethod
    def _contains_the_target(cls, value: tuple[Stream, ...]) -> tuple[Stream, ...]:
        if "video" not in value:
            raise ValueError("must contain 'video', the training target")
        return value


class Split(FrozenConfig):
    """Shares of the splits. Clips of one person or of the same footage are never in two splits."""

    val: float = Field(default=0.05, ge=0, lt=1, description="share of validation clips")
    test: float = Field(default=0.05, ge=0, lt=1, description="share of test clips")
    same_person: float = Field(
        default=0.45, ge=0, description="two clips show the same person below this identity distance"
    )
    same_frame: int = Field(
        default=6,
        ge=0,
        le=32,
        description="two frame hashes count as equal if at most this many of their 64 bits differ",
    )


class Limits(FrozenConfig):
    """Time limits: the process of a task that takes longer is killed, and the task counts as hanging.

    They are not part of the recipe hash, since they change no bytes: a run may continue with other limits.
    """

    task_s: float = Field(default=600.0, gt=0, description="seconds that every task may take")
    frame_s: float = Field(default=5.0, ge=0, description="additional seconds for each frame of the task")


class Recipe(FrozenConfig):
    """All settings of a run. The same recipe hash and the same footage give the same bytes."""

    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="seed of all random choices")
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
        """Load a YAML file or the defaults, and change single values: `Recipe.load("mine.yaml", "seed=1")`.

        Raises:
            UserError: the file cannot be read, or a value is wrong; the message names it.
        """
        return load_recipe(None if path is None else Path(path), list(assignments))

    @property
    def needs_portraits(self) -> bool:
        """Whether portraits are used: for swaps, or as styles."""
        takes_style = self.stylise.portraits and any(name != "filter" for name in self.stylise.backends)
        return self.swap.backend != "off" or takes_style

    def canonical(self) -> str:
        """The text that is hashed: JSON with sorted keys and no spaces, without `limits`."""
        shown = self.model_dump(mode="json", exclude={"limits"})
        return json.dumps(shown, sort_keys=True, separators=(",", ":"))


def load_recipe(path: Path | None, assignments: list[str], base: dict[str, Any] | None = None) -> Recipe:
    """Recipe from defaults, `base` (recipe values of a manifest), a file, and `--set` assignments; later ones win."""
    data = dict(base or {})
    where = "recipe"
    if path is not None:
        data = merge(data, read_yaml(path))
        where = str(path)
    return parse(Recipe, override(data, assignments), where)


def recipe_hash(recipe: Recipe, contents: dict[str, str]) -> str:
    """Hash of the recipe and of the content hashes of models, donors and styles (name -> sha256)."""
    text = recipe.canonical() + json.dumps(contents, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
