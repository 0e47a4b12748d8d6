"""Noise schedules, training targets and loss weights. Shape suffixes as in `trainer.model.layers`."""

from __future__ import annotations

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor

from trainer.model.config import DiffusionConfig, ScheduleConfig

TRAIN_TIMESTEPS = 1000


def build_scheduler(schedule: ScheduleConfig, prediction: str) -> DDIMScheduler:
    """The DDIM scheduler of diffusers for a schedule; `prediction` is what the model predicts."""
    return DDIMScheduler(
        num_train_timesteps=TRAIN_TIMESTEPS,
        beta_schedule=schedule.beta_schedule,
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        rescale_betas_zero_snr=schedule.zero_terminal_snr,
        timestep_spacing=schedule.spacing,
        steps_offset=schedule.steps_offset,
        prediction_type=prediction,
        clip_sample=False,
    )


class TrainingSchedule:
    """The forward process of training: noisy latents, targets and loss weights.

    Its table lies on `device`, so that looking up timesteps there needs no copy.
    """

    def __init__(self, config: DiffusionConfig, device: torch.device | str = "cpu"):
        self.prediction = config.prediction
        self.gamma = config.min_snr_gamma
        self.alphas_cumprod = build_scheduler(config.train_schedule, config.prediction).alphas_cumprod.to(
            device
        )

    def _signal_noise(self, timesteps_B: Tensor, dims: int) -> tuple[Tensor, Tensor]:
        alphas_B = self.alphas_cumprod.to(timesteps_B.device)[timesteps_B]
        alphas = alphas_B.view(-1, *[1] * (dims - 1))
        return alphas.sqrt(), (1 - alphas).sqrt()

    def add_noise(self, latents_BFCHW: Tensor, noise_BFCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """Latents with noise at the timestep of each sample."""
        signal, noise = self._signal_noise(timesteps_B, latents_BFCHW.ndim)
        return signal * latents_BFCHW + noise * noise_BFCHW

    def target(self, latents_BFCHW: Tensor, noise_BFCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """The target of the prediction: the noise or the velocity."""
        if self.prediction == "epsilon":
            return noise_BFCHW
        signal, noise = self._signal_noise(timesteps_B, latents_BFCHW.ndim)
        return signal * noise_BFCHW - noise * latents_BFCHW

    def weights(self, timesteps_B: Tensor) -> Tensor:
        """Loss weight of each sample: min-SNR (Hang et al. 2023) if gamma is set, else 1.

        At zero SNR the ratio for epsilon is undefined; its limit 1 is used.
        """
        if self.gamma is None:
            return torch.ones(len(timesteps_B), device=timesteps_B.device)
        alphas_B = self.alphas_cumprod.to(timesteps_B.device)[timesteps_B]
        snr_B = alphas_B / (1 - alphas_B)
        clipped_B = snr_B.clamp(max=self.gamma)
        if self.prediction == "v_prediction":
            return clipped_B / (snr_B + 1)
        return torch.where(snr_B > 0, clipped_B / snr_B.clamp(min=1e-20), 1.0)
