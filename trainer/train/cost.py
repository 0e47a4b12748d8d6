"""The table printed before a run: which parameters train, FLOP of a step, memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from trainer.diffusion.draws import Draws
from trainer.diffusion.loss import training_loss
from trainer.diffusion.schedule import TrainingSchedule
from trainer.model.config import MegActorConfig
from trainer.model.flops import count
from trainer.model.megactor import STAGE_GROUPS, Conditions, Group, MegActor
from trainer.model.precision import autocast
from trainer.model.vae import LATENT
from trainer.train.config import TrainConfig

# Dense bf16 TFLOP/s as the makers state them, by a part of the device's name.
PEAK_TFLOPS = {"H200": 989, "H100": 989, "H800": 989, "A100": 312, "A800": 312, "L40S": 362, "4090": 165}


@dataclass(frozen=True)
class Cost:
    """Cost of a run, for its start table and its log.

    Attributes:
        groups: parameters of each group, and whether it trains.
        step_flop: FLOP of one optimiser step over all workers, encoders not counted.
        state_gb: memory of weights, gradients, AdamW's moments and averages, on each worker.
        activations_gb: memory kept by the forward pass of one micro-batch for its backward pass.
    """

    groups: dict[Group, tuple[int, bool]]
    step_flop: float
    state_gb: float
    activations_gb: float


def estimate(config: TrainConfig, architecture: MegActorConfig, size: int) -> Cost:
    """Cost of training on clips of `size` pixels; nothing is executed."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = MegActor(architecture.model)
        model.train_stage(config.stage)
        activations = _activation_bytes(model, config, architecture, size)
    groups = {
        group: (sum(p.numel() for p in parameters.values()), group in STAGE_GROUPS[config.stage])
        for group, parameters in model.parameter_groups().items()
    }
    total = sum(number for number, _ in groups.values())
    trained = sum(number for number, trains in groups.values() if trains)
    latent = size // LATENT
    per_clip = count(
        architecture.model, config.data.frames, latent, latent, architecture.image_encoder.tokens
    )
    copies = 3 + (config.ema is not None)  # gradient and two moments, perhaps an average
    return Cost(
        groups=groups,
        step_flop=per_clip.training_step(config.stage) * config.batch,
        state_gb=4 * (total + copies * trained) / 1e9,
        activations_gb=activations / 1e9,
    )


def start_table(cost: Cost, config: TrainConfig, architecture: MegActorConfig, ranks: int, clips: int) -> str:
    """The table as text."""
    lines = [f"stage {config.stage}: {config.steps} steps of {config.batch} samples, {clips} clips"]
    lines.append(
        f"  {ranks} workers x {config.accumulate(ranks)} accumulated x micro-batch {config.micro_batch}, "
        f"{config.data.frames} frames, {config.precision}, {architecture.diffusion.prediction}"
    )
    for group, (number, trains) in cost.groups.items():
        lines.append(f"  {group:<16}{number:>15,} parameters  {'trains' if trains else 'frozen'}")
    lines.append(f"  {'a step':<16}{cost.step_flop / 1e12:>15,.4g} TFLOP, encoders not counted")
    lines.append(
        f"  {'memory':<16}{cost.state_gb + cost.activations_gb:>15,.2f} GB a worker: {cost.state_gb:.2f} of weights, "
        f"gradients, moments and averages, about {cost.activations_gb:.2f} of activations"
    )
    return "\n".join(lines)


def peak_flops(config: TrainConfig, device: torch.device) -> float | None:
    """Peak FLOP/s of a device, None where it is not known."""
    if config.peak_tflops is not None:
        return config.peak_tflops * 1e12
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((tflops * 1e12 for word, tflops in PEAK_TFLOPS.items() if word in name), None)


def _activation_bytes(model: MegActor, config: TrainConfig, architecture: MegActorConfig, size: int) -> float:
    """Bytes that autograd keeps of a forward pass, which runs on fake tensors (without data).

    Fake tensors select the same kernels as real ones. On the meta device, attention would select a kernel that keeps
    the whole attention matrix.
    """
    sizes: dict[int, int] = {}
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    alive: list[Tensor] = []  # keeps the tensors, so that no two storages get the same address

    def keep(tensor: Tensor) -> Tensor:
        key = tensor.untyped_storage()._cdata
        if key not in weights and key not in sizes:
            sizes[key] = tensor.untyped_storage().nbytes()
            alive.append(tensor)
        return tensor

    batch, frames, latent = config.micro_batch, config.data.frames, size // LATENT
    channels, encoder = architecture.model.latent_channels, architecture.image_encoder
    latents = torch.empty(batch, frames, channels, latent, latent)
    conditions = Conditions(
        driving_BF3HW=torch.empty(batch, frames, 3, size, size),
        reference_B3HW=torch.empty(batch, 3, size, size),
        reference_sample_BCHW=latents[:, 0],
        reference_mean_BCHW=latents[:, 0],
        background_B1HW=latents[:, 0, :1],
        tokens_BTD=torch.empty(batch, encoder.tokens, encoder.projection_dim),
    )
    timesteps, dropped = torch.empty(2, batch, dtype=torch.long)
    noise = torch.empty_like(latents)
    draws = Draws(timesteps, noise, dropped.bool(), noise, noise[:, 0])
    schedule = TrainingSchedule(architecture.diffusion)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, autocast(config.precision, torch.device("cpu")):
        training_loss(
            model,
            schedule,
            latents,
            conditions,
            draws,
            motion=config.stage != "image",
            recompute=config.recompute,
        )
    return float(sum(sizes.values()))
