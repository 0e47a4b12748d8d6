"""What a training run does, as one frozen model read from YAML."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from datagen.common.config import FrozenConfig, merge
from trainer.data.config import DataConfig
from trainer.model.config import PRESETS, MegActorConfig
from trainer.model.megactor import Stage
from trainer.model.precision import Precision

Preset = Literal["default", "published", "tiny"]
NETWORKS = ("vae", "cosine", "random")  # values of `codec` and `image_encoder` that are no folders


class ModelChoice(FrozenConfig):
    """A preset of `trainer.model.config`, or a checkpoint's config, with some fields changed."""

    preset: Preset = Field(default="default", description="used where no checkpoint is given with --init")
    model: dict[str, Any] = Field(default={}, description="fields of ModelConfig to change")
    vae: dict[str, Any] = Field(default={}, description="fields of VAEConfig to change")
    image_encoder: dict[str, Any] = Field(default={}, description="fields of ImageEncoderConfig to change")
    diffusion: dict[str, Any] = Field(default={}, description="fields of DiffusionConfig to change")

    @model_validator(mode="after")
    def _builds(self) -> ModelChoice:
        self.resolve(None)
        return self

    def resolve(self, base: MegActorConfig | None) -> MegActorConfig:
        """The config of a new model, or `base` (of a checkpoint) with the changed fields.

        Raises:
            ValueError: unknown fields, or values that do not fit each other.
        """
        values = (base or PRESETS[self.preset]).to_dict()
        changes = {name: getattr(self, name) for name in ("model", "vae", "image_encoder", "diffusion")}
        return MegActorConfig.from_dict(merge(values, changes))


class Optimiser(FrozenConfig):
    """AdamW and its learning rate."""

    learning_rate: float = Field(default=1e-5, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=1e-2, ge=0)
    epsilon: float = Field(default=1e-8, gt=0)
    warmup_steps: int = Field(default=500, ge=0, description="steps over which the rate rises from near 0")
    schedule: Literal["constant", "linear", "cosine"] = Field(
        default="constant", description="after the warm-up"
    )
    final_rate: float = Field(default=0.0, ge=0, le=1, description="share of the rate left at the last step")
    clip_norm: float | None = Field(
        default=1.0, gt=0, description="largest norm of all gradients together; empty: no clipping"
    )


class Validation(FrozenConfig):
    """Validation on clips of `split = val`, with the averaged weights where there are any."""

    every: int = Field(default=1000, ge=0, description="steps between validations; 0: none")
    samples: int = Field(default=64, ge=1, description="samples of the validation loss, always the same")
    videos: int = Field(
        default=2, ge=0, description="clips for which a video reference | driver | result is written"
    )
    video_frames: int = Field(default=16, ge=1, le=256)


class Checkpoints(FrozenConfig):
    """When checkpoints are saved, and how many are kept."""

    every: int = Field(default=1000, ge=1, description="steps between checkpoints")
    keep: int = Field(default=3, ge=1, description="newest checkpoints kept")


class Watching(FrozenConfig):
    """When the workers of `--workers` or `--address` are killed and started again from the newest checkpoint.

    Both limits are ten times as long while a worker starts, saves or validates.
    """

    silent_s: float = Field(default=20, gt=0, description="seconds without a heartbeat of a worker's process")
    still_s: float = Field(
        default=300,
        gt=0,
        description="seconds without progress, though heartbeats arrive; at least ten times the slowest step",
    )


class TrainConfig(FrozenConfig):
    """One run; see docs/training.md."""

    stage: Stage = Field(default="joint", description="image, video or joint: which parameter groups train")
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    steps: int = Field(default=30_000, ge=1, description="optimiser steps of the run")
    batch: int = Field(default=8, ge=1, description="samples of one optimiser step, over all workers")
    micro_batch: int = Field(
        default=1,
        ge=1,
        description="most samples a worker processes at once; gradients add up over its share of the batch",
    )
    data: DataConfig = DataConfig()
    where: str | None = Field(default=None, description="SQL over the index columns that chooses the clips")
    weights: tuple[float, ...] | None = Field(
        default=None, description="share of each --data; empty: by number of clips"
    )
    model: ModelChoice = ModelChoice()
    codec: str = Field(
        default="vae",
        description="`vae`: the checkpoint's own; `cosine`: fixed, for tiny models; `random`: untrained; or a folder",
    )
    image_encoder: str | None = Field(
        default=None,
        description="folder of the CLIP vision model; `random`: untrained, for tiny models; empty: precomputed",
    )
    optimiser: Optimiser = Optimiser()
    ema: float | None = Field(
        default=0.9999, gt=0, lt=1, description="decay of the averaged weights; empty: none"
    )
    precision: Precision = "bf16"
    recompute: bool = Field(
        default=False, description="compute activations inside layers again: less memory, a third more time"
    )
    compile: bool = Field(default=False, description="compile each layer with torch.compile")
    loader_workers: int = Field(default=4, ge=0, description="processes that make samples, for each worker")
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads of torch, for each worker; empty: its default"
    )
    peak_tflops: float | None = Field(
        default=None, gt=0, description="peak of the device, for MFU; empty: known GPUs only"
    )
    log_every: int = Field(default=10, ge=1)
    checkpoints: Checkpoints = Checkpoints()
    validation: Validation = Validation()
    watching: Watching = Watching()

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        if self.weights is not None and any(weight <= 0 for weight in self.weights):
            raise ValueError(f"weights = {self.weights} must all be positive")
        limit = self.model.resolve(None).model.max_frames
        if self.stage != "image" and self.data.frames > limit:
            raise ValueError(
                f"data.frames = {self.data.frames} is above the model's max_frames = {limit}; lower it"
            )
        if self.stage == "video" and self.data.frames < 2:
            raise ValueError(
                f"stage = 'video' trains motion, but data.frames = {self.data.frames}; give at least 2"
            )
        return self

    def shared(self, ranks: int) -> TrainConfig:
        """The config of one of `ranks` workers: its micro-batch divides its share of the batch.

        Raises:
            ValueError: the batch cannot be shared evenly.
        """
        share, left = divmod(self.batch, ranks)
        if left or not share:
            raise ValueError(
                f"batch = {self.batch} cannot be shared by {ranks} workers; give a multiple of {ranks}, "
                f"such as --set batch={(share + bool(left)) * ranks}"
            )
        micro = next(size for size in range(min(self.micro_batch, share), 0, -1) if share % size == 0)
        return self.model_copy(update={"micro_batch": micro})

    def accumulate(self, ranks: int) -> int:
        """Number of micro-batches that each of `ranks` workers takes for one step."""
        return self.batch // (ranks * self.shared(ranks).micro_batch)
