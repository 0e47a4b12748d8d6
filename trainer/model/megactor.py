"""The trained model: its inputs, its forward pass, and the parameters that each stage trains.

Shape suffixes as in `layers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.config import ModelConfig
from trainer.model.denoiser import Denoiser
from trainer.model.layers import ResnetBlock, SpatialTransformer
from trainer.model.reference_net import ReferenceFeatures, ReferenceNet, half_rounded
from trainer.model.temporal import MotionModule

Group = Literal["unet_spatial", "motion_modules", "driven_encoder", "reference_net"]
Stage = Literal["image", "video", "joint"]

STAGE_GROUPS: dict[Stage, tuple[Group, ...]] = {
    "image": ("unet_spatial", "driven_encoder", "reference_net"),
    "video": ("motion_modules",),
    "joint": ("unet_spatial", "motion_modules", "driven_encoder", "reference_net"),
}
"""Parameter groups that each stage trains. The image stage runs without motion modules; see `MegActor.forward`."""


@dataclass(frozen=True)
class Conditions:
    """Inputs of the model besides the noisy latents and the timestep.

    Attributes:
        driving_BF3HW: driving frames in [0, 1], the face region in grey on black, at 8 times the size of the latents.
        reference_B3HW: reference image in [0, 1], for the modulation of the driving features.
        reference_sample_BCHW: scaled posterior sample of the reference, concatenated to the noisy latents.
        reference_mean_BCHW: scaled posterior mean of the reference, input of the ReferenceNet.
        background_B1HW: background mask of the reference at the size of the latents, 1 on background.
        tokens_BTD: CLIP tokens of the background of the reference.
    """

    driving_BF3HW: Tensor
    reference_B3HW: Tensor
    reference_sample_BCHW: Tensor
    reference_mean_BCHW: Tensor
    background_B1HW: Tensor
    tokens_BTD: Tensor

    @classmethod
    def from_pixels(
        cls,
        driving_BFCHW: Tensor,
        reference_B3HW: Tensor,
        background_B1HW: Tensor,
        reference_sample_BCHW: Tensor,
        reference_mean_BCHW: Tensor,
        tokens_BTD: Tensor,
    ) -> Conditions:
        """Conditions of pictures in 0..255 (uint8 or float) and a mask at the pictures' size.

        `driving_BFCHW` may have one channel; the mask is resized to the latents by nearest neighbour.
        """
        size = reference_mean_BCHW.shape[-2:]
        return cls(
            driving_BF3HW=(driving_BFCHW.float() / 255).expand(-1, -1, 3, -1, -1),
            reference_B3HW=reference_B3HW.float() / 255,
            reference_sample_BCHW=reference_sample_BCHW,
            reference_mean_BCHW=reference_mean_BCHW,
            background_B1HW=F.interpolate(background_B1HW.float(), size, mode="nearest"),
            tokens_BTD=tokens_BTD.float(),
        )

    def map(self, function: Callable[[Tensor], Tensor]) -> Conditions:
        """The conditions with `function` applied to each tensor, for example to move them to a device."""
        return Conditions(**{f.name: function(getattr(self, f.name)) for f in fields(self)})

    def frames(self, indices: list[int]) -> Conditions:
        """The conditions of some of the driving frames."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Conditions(**values | {"driving_BF3HW": self.driving_BF3HW[:, indices]})


class MegActor(nn.Module):
    """Denoiser and ReferenceNet. The state dict has the published names, `unet.*` and `appearance_encoder.*`."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.unet = Denoiser(config)
        self.appearance_encoder = ReferenceNet(config)

    def forward(
        self,
        noisy_BFCHW: Tensor,
        timesteps_B: Tensor,
        conditions: Conditions,
        dropped_B: Tensor | None = None,
        motion: bool = True,
        recompute: bool = False,
    ) -> Tensor:
        """The prediction for noisy latents (same shape).

        Args:
            noisy_BFCHW: noisy latents of the target frames.
            timesteps_B: integer timestep of each clip.
            conditions: the other inputs.
            dropped_B: true for samples that ignore the reference features.
            motion: whether the motion modules run; the image stage turns them off.
            recompute: activation checkpointing: less memory, more time, the same gradients.
        """
        features = self.reference_features(
            conditions.reference_mean_BCHW, timesteps_B, conditions.tokens_BTD, recompute
        )
        fixed_BFCHW = self.fixed_channels(conditions)
        return self.unet(
            torch.cat([noisy_BFCHW, fixed_BFCHW], dim=2),
            timesteps_B,
            conditions.tokens_BTD,
            features,
            dropped_B,
            motion,
            recompute,
        )

    def fixed_channels(self, conditions: Conditions) -> Tensor:
        """The input channels after the noisy latent, equal at all steps: reference latent, mask, driven features."""
        driven_BFCHW = self.unet.condition_input_layer(conditions.driving_BF3HW, conditions.reference_B3HW)
        reference_BCHW = torch.cat([conditions.reference_sample_BCHW, conditions.background_B1HW], dim=1)
        reference_BFCHW = reference_BCHW.unsqueeze(1).expand(-1, driven_BFCHW.shape[1], -1, -1, -1)
        return torch.cat([reference_BFCHW, driven_BFCHW], dim=2)

    def reference_features(
        self, reference_mean_BCHW: Tensor, timesteps_B: Tensor, tokens_BTD: Tensor, recompute: bool = False
    ) -> ReferenceFeatures:
        """The features of the reference for the denoiser; without gradients while the ReferenceNet is frozen."""
        if self.config.reference_timestep is not None:
            timesteps_B = torch.full_like(timesteps_B, self.config.reference_timestep)
        trained = any(p.requires_grad for p in self.appearance_encoder.parameters())
        with torch.set_grad_enabled(trained and torch.is_grad_enabled()):
            features = self.appearance_encoder(reference_mean_BCHW, timesteps_B, tokens_BTD, recompute)
        return half_rounded(features) if self.config.half_reference else features

    def parameter_groups(self) -> dict[Group, dict[str, nn.Parameter]]:
        """Every parameter by name; each belongs to exactly one group."""
        groups: dict[Group, dict[str, nn.Parameter]] = {
            "unet_spatial": {},
            "motion_modules": {},
            "driven_encoder": {},
            "reference_net": dict(self.appearance_encoder.named_parameters("appearance_encoder")),
        }
        driven = {id(p) for p in self.unet.condition_input_layer.parameters()}
        motion = {id(p) for m in self.unet.modules() if isinstance(m, MotionModule) for p in m.parameters()}
        for name, parameter in self.unet.named_parameters("unet"):
            group: Group = "unet_spatial"
            if id(parameter) in driven:
                group = "driven_encoder"
            elif id(parameter) in motion:
                group = "motion_modules"
            groups[group][name] = parameter
        return groups

    def train_stage(self, stage: Stage) -> list[nn.Parameter]:
        """Freeze everything but the groups of the stage; returns the parameters that train."""
        trained = []
        for group, parameters in self.parameter_groups().items():
            for parameter in parameters.values():
                parameter.requires_grad_(group in STAGE_GROUPS[stage])
                if parameter.requires_grad:
                    trained.append(parameter)
        return trained

    def use_channels_last(self) -> None:
        """Use the channels_last memory format, the fastest on GPUs, for convolution weights; activations follow them.

        Weights on a CPU are not changed: there torch 2.13 crashes in the backward pass of a trained GroupNorm after
        frozen layers, such as that of the first motion module in the video stage.
        """
        for parameter in self.parameters():
            if parameter.ndim == 4 and parameter.is_cuda:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def compile_regions(self, **options: object) -> None:
        """Compile each ResNet, transformer and motion module on its own: faster, and equal layers share one graph.

        Shapes are static. The compiler's limit on variants of a function is raised, since every level has its own.
        """
        limits = torch._dynamo.config
        limits.recompile_limit = max(limits.recompile_limit, 256)
        limits.accumulated_recompile_limit = max(limits.accumulated_recompile_limit, 1024)
        for module in self.modules():
            if isinstance(module, ResnetBlock | SpatialTransformer | MotionModule):
                module.compile(**{"dynamic": False} | options)
