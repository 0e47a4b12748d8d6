"""Sizes and behaviour of a model, and its diffusion process, as frozen dataclasses that every checkpoint stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Prediction = Literal["epsilon", "v_prediction"]
Spacing = Literal["leading", "trailing"]
BetaSchedule = Literal["linear", "scaled_linear"]


# Far above any real model. Larger sizes come from a damaged or hostile file; building such a model would never end.
_LIMITS = {
    "latent_channels": 1024,
    "driven_channels": 1024,
    "layers_per_block": 64,
    "attention_heads": 1024,
    "cross_attention_dim": 65_536,
    "norm_num_groups": 65_536,
    "max_frames": 65_536,
}
_MAX_CHANNELS, _MAX_LEVELS = 65_536, 8


def _check_size(name: str, value: object, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ValueError(f"{name} is {value!r}; give a whole number in 1..{most}")


def _check_levels(channels: object) -> None:
    if not isinstance(channels, tuple) or not 2 <= len(channels) <= _MAX_LEVELS:
        raise ValueError(f"block_out_channels is {channels!r}; give two to {_MAX_LEVELS} levels")
    for value in channels:
        _check_size("a level of block_out_channels", value, _MAX_CHANNELS)


@dataclass(frozen=True)
class VAEConfig:
    """Sizes of diffusers' `AutoencoderKL`; the defaults are those of sd-vae-ft-mse."""

    latent_channels: int = 4
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    norm_num_groups: int = 32
    sample_size: int = 512
    scaling_factor: float = 0.18215

    def __post_init__(self) -> None:
        for name in ("latent_channels", "layers_per_block", "norm_num_groups"):
            _check_size(name, getattr(self, name), _LIMITS[name])
        _check_levels(self.block_out_channels)


@dataclass(frozen=True)
class ImageEncoderConfig:
    """Sizes of the CLIP vision tower and its projection; the defaults are those of CLIP ViT-L/14."""

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    image_size: int = 224
    patch_size: int = 14
    projection_dim: int = 768
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5

    @property
    def tokens(self) -> int:
        """Tokens of an image: the class token and one for each patch."""
        return (self.image_size // self.patch_size) ** 2 + 1


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and behaviour of the trained parts; the defaults are Stable Diffusion 1.5 with MegActor's additions.

    Attributes:
        latent_channels: channels of the VAE's latents.
        driven_channels: channels of the DrivenEncoder's output.
        block_out_channels: channels of the UNets' levels, largest picture first.
        layers_per_block: layers of an encoder level; decoder levels have one more.
        attention_heads: heads of every attention.
        cross_attention_dim: width of a condition token.
        norm_num_groups: groups of every GroupNorm.
        max_frames: largest number of frames the motion modules take.
        norm_statistics: whether a ResNet's GroupNorm pools over each frame or over all frames of a clip, as the
            published weights need.
        reference_size: side of the reference image that the modulation branch takes; with None it pools adaptively
            and takes any.
        reference_timestep: timestep of the ReferenceNet, so that its features are computed once a clip; with None it
            gets the denoiser's.
        half_reference: rounds the reference features to float16, as the published code does by default.
    """

    latent_channels: int = 4
    driven_channels: int = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    attention_heads: int = 8
    cross_attention_dim: int = 768
    norm_num_groups: int = 32
    max_frames: int = 32
    norm_statistics: Literal["frame", "clip"] = "frame"
    reference_size: int | None = None
    reference_timestep: int | None = None
    half_reference: bool = False

    def __post_init__(self) -> None:
        for name, most in _LIMITS.items():
            _check_size(name, getattr(self, name), most)
        _check_levels(self.block_out_channels)
        for channels in self.block_out_channels:
            if channels % self.norm_num_groups:
                raise ValueError(
                    f"block_out_channels {self.block_out_channels}: {channels} is no multiple of "
                    f"norm_num_groups {self.norm_num_groups}"
                )
            if channels % self.attention_heads:
                raise ValueError(
                    f"block_out_channels {self.block_out_channels}: {channels} is no multiple of "
                    f"attention_heads {self.attention_heads}"
                )

    @property
    def in_channels(self) -> int:
        """Channels of the first convolution: noisy latent, reference latent, background mask, driven features."""
        return 2 * self.latent_channels + 1 + self.driven_channels


@dataclass(frozen=True)
class ScheduleConfig:
    """One noise schedule and how the sampler steps through it (names as in diffusers' `DDIMScheduler`)."""

    beta_schedule: BetaSchedule = "scaled_linear"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    zero_terminal_snr: bool = True
    spacing: Spacing = "trailing"
    steps_offset: int = 1


@dataclass(frozen=True)
class WindowConfig:
    """How the sampler splits a long video into windows.

    Attributes:
        frames: length of a window.
        overlap: frames that a window shares with the next.
        closed: the last window continues with the first frames of the video, and overlaps are averaged. Otherwise the
            last window ends with the video, and overlaps are cross-faded.
        sum_unguided: repeats a fault of the published sampler: without guidance, overlaps are summed instead of
            averaged.
    """

    frames: int = 16
    overlap: int = 8
    closed: bool = False
    sum_unguided: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.frames:
            raise ValueError(
                f"overlap is {self.overlap}; it must lie in 0..{self.frames - 1} (window frames - 1)"
            )


@dataclass(frozen=True)
class DiffusionConfig:
    """Training target, noise and sampling.

    Attributes:
        prediction: what the model predicts.
        train_schedule: noise schedule of training.
        sample_schedule: noise schedule and timestep spacing of sampling.
        noise_offset: strength of the noise that is constant over a channel.
        reference_dropout: share of training samples that ignore the reference features.
        min_snr_gamma: gamma of min-SNR loss weights; None for equal weights.
        sample_steps: steps of the sampler.
        guidance_scale: strength of classifier-free guidance; 1 or less turns it off.
        guidance_rescale: 0..1, how far guidance keeps the standard deviation of the conditional prediction.
        windows: windows over long videos.
    """

    prediction: Prediction = "v_prediction"
    train_schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    sample_schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    noise_offset: float = 0.0
    reference_dropout: float = 0.1
    min_snr_gamma: float | None = None
    sample_steps: int = 25
    guidance_scale: float = 3.5
    guidance_rescale: float = 0.0
    windows: WindowConfig = field(default_factory=WindowConfig)

    def __post_init__(self) -> None:
        for name in ("reference_dropout", "guidance_rescale"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a number in 0..1")
        schedule = self.train_schedule
        if schedule.zero_terminal_snr and self.sample_schedule == schedule and self.prediction == "epsilon":
            raise ValueError(
                "prediction is 'epsilon' on a zero-terminal-SNR schedule, where the last step cannot be sampled; "
                "use 'v_prediction' or zero_terminal_snr=False"
            )


@dataclass(frozen=True)
class MegActorConfig:
    """Everything needed to build the model; stored beside the weights."""

    model: ModelConfig = field(default_factory=ModelConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    image_encoder: ImageEncoderConfig = field(default_factory=ImageEncoderConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)

    def __post_init__(self) -> None:
        if self.vae.latent_channels != self.model.latent_channels:
            raise ValueError(
                f"vae.latent_channels {self.vae.latent_channels} differs from "
                f"model.latent_channels {self.model.latent_channels}"
            )
        if self.image_encoder.projection_dim != self.model.cross_attention_dim:
            raise ValueError(
                f"image_encoder.projection_dim {self.image_encoder.projection_dim} differs from "
                f"model.cross_attention_dim {self.model.cross_attention_dim}"
            )

    def to_dict(self) -> dict[str, Any]:
        """A plain dict for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MegActorConfig:
        """The config of a dict from `to_dict`.

        Raises:
            ValueError: a field is unknown or has a wrong value; the message names it.
        """
        return _build(cls, values, "config")


PUBLISHED_DIFFUSION = DiffusionConfig(
    prediction="epsilon",
    train_schedule=ScheduleConfig("scaled_linear", zero_terminal_snr=True, spacing="leading"),
    sample_schedule=ScheduleConfig("linear", zero_terminal_snr=False, spacing="leading"),
    noise_offset=0.1,
    reference_dropout=0.0,
    guidance_scale=4.5,
    windows=WindowConfig(closed=True, sum_unguided=True),
)
"""As MegActor was released, with different schedules in training and sampling."""

PUBLISHED = MegActorConfig(
    model=ModelConfig(norm_statistics="clip", reference_size=512),
    diffusion=PUBLISHED_DIFFUSION,
)
"""The released model."""

DEFAULT = MegActorConfig()
"""For new training: one zero-terminal-SNR schedule, v-prediction, norms per frame, any reference size."""

TINY = MegActorConfig(
    model=ModelConfig(block_out_channels=(64, 128, 192, 192), cross_attention_dim=48),
    vae=VAEConfig(block_out_channels=(32, 64, 64, 64), sample_size=64),
    image_encoder=ImageEncoderConfig(64, 128, 3, 4, image_size=28, patch_size=7, projection_dim=48),
)
"""The default with sizes that a CPU can train."""


def tiny(base: MegActorConfig) -> MegActorConfig:
    """`base` with the sizes of `TINY`."""
    sizes = TINY.model
    model = replace(
        base.model, block_out_channels=sizes.block_out_channels, cross_attention_dim=sizes.cross_attention_dim
    )
    return replace(base, model=model, vae=TINY.vae, image_encoder=TINY.image_encoder)


PRESETS: dict[str, MegActorConfig] = {"published": PUBLISHED, "default": DEFAULT, "tiny": TINY}

T = TypeVar("T")


def _build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    types = get_type_hints(cls)
    names = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - names)
    if unknown:
        raise ValueError(f"{where} has unknown fields {unknown}; known are {sorted(names)}")
    built: dict[str, Any] = {}
    for name, value in values.items():
        kind = types[name]
        if isinstance(kind, type) and is_dataclass(kind):
            value = _build(kind, value, f"{where}.{name}")
        elif isinstance(value, list):
            value = tuple(value)
        elif get_origin(kind) is Literal and value not in get_args(kind):
            raise ValueError(f"{where}.{name} is {value!r}; choose one of {list(get_args(kind))}")
        built[name] = value
    return cls(**built)
