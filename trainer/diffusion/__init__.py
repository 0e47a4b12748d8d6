"""Diffusion: noise schedules and targets, random numbers and loss of a training step, the sampler and its windows."""
