"""Diffusion: schedules and targets, the random draws of a training step, its loss, the sampler and its windows."""
