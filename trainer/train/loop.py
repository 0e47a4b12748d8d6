"""A training run, on this rank of however many there are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from datagen.common.errors import UserError
from trainer.checkpoints.tensor_files import write_safetensors
from trainer.data import Batch
from trainer.diffusion.draws import Draws
from trainer.diffusion.schedule import TrainingSchedule
from trainer.model.config import MegActorConfig
from trainer.train.build import Parts, build
from trainer.train.cost import peak_flops
from trainer.train.inputs import Inputs, draws_of, prepare
from trainer.train.job import Job
from trainer.train.metrics import LossTable, Reporter, Say, Speed, memory
from trainer.train.prefetch import Ahead
from trainer.train.ranks import World
from trainer.train.state import checkpoint, rng
from trainer.train.step import accumulate_gradients
from trainer.train.stop import StopRequest
from trainer.train.watch import Pulse


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        steps: optimiser steps done, over all resumes.
        finished: whether those were all.
        checkpoint: the newest one.
    """

    steps: int
    finished: bool
    checkpoint: Path


def train(job: Job, world: World, say: Say = print, pulse: Pulse | None = None) -> Outcome:
    """Train until the last step, or until asked to stop; either way the end is a checkpoint.

    Args:
        job: what the user asked for.
        world: this rank among the others.
        say: prints a line; only the main rank's is called.
        pulse: told what this rank is at.

    Raises:
        UserError: the job cannot be done, or the loss is no longer finite.
    """
    if job.config.threads is not None:
        torch.set_num_threads(job.config.threads)
    parts = build(job, world, say)
    stop = StopRequest(stop_file(job.output))
    report = Reporter(job.output, parts.learner.step, say, world.is_main)
    try:
        with stop.on_signals():
            return _Run(job, world, parts, report, stop, pulse or Pulse()).go()
    finally:
        report.close()


def stop_file(run: Path) -> Path:
    """A file of this name asks all workers of a run to stop."""
    return run / "stop"


class _Run:
    def __init__(
        self, job: Job, world: World, parts: Parts, report: Reporter, stop: StopRequest, pulse: Pulse
    ) -> None:
        self.job, self.world, self.parts, self.report, self.stop = job, world, parts, report, stop
        self.pulse = pulse
        self.config, self.learner = job.config, parts.learner
        self.accumulate = job.config.accumulate(world.size)
        self.position = parts.loader.position
        self.saved = self.learner.step if checkpoint.folder_of(job.output, self.learner.step).exists() else -1

    def go(self) -> Outcome:
        config, learner = self.config, self.learner
        schedule = TrainingSchedule(learner.architecture.diffusion)
        table, speed = LossTable(self.world.device), Speed()
        peak = (peak_flops(config, self.world.device) or 0.0) * self.world.size
        losses: list[float] = []
        stopping = False
        with closing(Ahead(self._feed())) as ahead:
            while learner.step < config.steps and not stopping:
                waited = ahead.waited_s
                loss, norm, stopping = self._step(schedule, ahead, table)
                losses.append(loss)
                speed.add(ahead.waited_s - waited)
                rate = learner.update()
                self.position += config.batch
                if learner.step % config.log_every == 0 or learner.step == config.steps:
                    values = {
                        "loss": sum(losses) / len(losses),
                        "grad_norm": norm,
                        "learning_rate": rate,
                        **speed.look(config.batch, self.parts.cost.step_flop, peak),
                        **memory(self.world.device),
                        **table.means(self.world),
                        "data/clips_skipped": len(self.parts.loader.bad),
                        "data/samples_replaced": self.parts.loader.replaced,
                    }
                    losses.clear()
                    self.report.numbers(learner.step, values)
                    self.report.progress(learner.step, config.steps, values)
                with speed.apart():
                    if learner.step % config.checkpoints.every == 0:
                        self._save()
                    if config.validation.every and learner.step % config.validation.every == 0:
                        self._validate()
        self._save()
        finished = learner.step == config.steps
        outcome = Outcome(learner.step, finished, checkpoint.folder_of(self.job.output, learner.step))
        if self.world.is_main:
            self._tell_end(outcome)
        return outcome

    def _feed(self) -> Iterator[tuple[Batch, Draws]]:
        """Batches with their random numbers, on from the learner's step."""
        architecture, step = self.learner.architecture, self.learner.step
        for index, batch in enumerate(self.parts.loader):
            channels = architecture.model.latent_channels
            number = step + index // self.accumulate
            draws = draws_of(batch, architecture.diffusion, channels, seed=self.config.seed, step=number)
            if self.world.device.type == "cuda":
                draws = draws.map(lambda tensor: tensor.pin_memory())
            yield batch, draws

    def _step(
        self, schedule: TrainingSchedule, ahead: Iterator[tuple[Batch, Draws]], table: LossTable
    ) -> tuple[float, float, bool]:
        """Gradients of one step, clipped; the loss over all ranks, the norm, and whether anyone asks to stop."""
        taken: list[Inputs] = []

        def prepared() -> Iterator[Inputs]:
            self.pulse.at("waiting for data", self.learner.step)
            for batch, draws in ahead:
                self.pulse.at("training", self.learner.step)
                current = self.parts.loader.without_withdrawn(batch)
                taken[:] = [prepare(current, draws, self.parts.frozen, self.world.device)]
                yield taken[0]
                self.pulse.at("waiting for data", self.learner.step)

        loss = accumulate_gradients(
            self.learner.forward, schedule, prepared(), self.accumulate, self.config, table
        ).item()
        norm = self.learner.clip().item()
        broken = not (math.isfinite(loss) and math.isfinite(norm))
        total, breaks, stops = self.world.sums([loss, float(broken), float(bool(self.stop))])
        if breaks:
            raise UserError(self._keep_evidence(taken[0], loss, norm))
        return total / self.world.size, norm, stops > 0

    def _keep_evidence(self, inputs: Inputs, loss: float, norm: float) -> str:
        """Save the batch that broke the run; says where. The weights are still those before the step."""
        step = self.learner.step
        path = self.job.output / f"not-finite-step-{step:08d}-rank{self.world.rank}.safetensors"
        write_safetensors(path, inputs.tensors())
        return (
            f"step {step}: loss {loss}, gradient norm {norm} on worker {self.world.rank}; the step was not taken, its "
            f"last micro-batch is in {path}; lower optimiser.learning_rate or use precision: fp32, then --resume"
        )

    def _validate(self) -> None:
        if self.parts.validator is None:
            return
        self.pulse.at("validating", self.learner.step)
        values = self.parts.validator.run(self.learner)
        self.report.numbers(self.learner.step, values)
        self.report.say(f"validation at step {self.learner.step}: loss {values['validation/loss']:.4f}")

    def _save(self) -> None:
        """A checkpoint of this step, unless there is one; every rank takes part."""
        learner, world = self.learner, self.world
        if self.saved == learner.step:
            return
        self.pulse.at("saving", learner.step)
        mine = rng.capture(world.device)
        everyone = {name: world.gather(tensor) for name, tensor in mine.items()}
        if world.is_main:
            rngs = {
                f"{rank}.{name}": t for name, tensors in everyone.items() for rank, t in enumerate(tensors)
            }
            progress = checkpoint.Progress(
                step=learner.step,
                stage=self.config.stage,
                data=self.parts.loader.state_dict() | {"position": self.position},
                recipes=list(self.parts.loader.data.recipes),
                ranks=world.size,
                config=self.config.model_dump(mode="json"),
            )
            architecture: MegActorConfig = learner.architecture
            weights = checkpoint.Weights(
                architecture,
                self.parts.origins,
                learner.model.state_dict(),
                learner.averages(),
                self.parts.vae,
            )
            checkpoint.save(
                self.job.output,
                progress,
                weights,
                learner.optimiser_tensors(),
                rngs,
                self.config.checkpoints.keep,
            )
        world.wait()
        self.saved = learner.step

    def _tell_end(self, outcome: Outcome) -> None:
        """What was done, and what to do next."""
        run, loader = self.job.output, self.parts.loader
        if outcome.finished:
            weights = checkpoint.usable_weights(outcome.checkpoint)
            self.report.say(f"finished {outcome.steps} steps; weights in {weights}")
            self.report.say(f"  look at   tensorboard --logdir {run / 'tensorboard'}")
            self.report.say(f"  next      another stage with --init {run}, or `weights export {weights}`")
        else:
            self.report.say(
                f"stopped at step {outcome.steps} of {self.config.steps}; --resume goes on from here"
            )
        if loader.bad:
            clip_id, why = next(iter(loader.bad.items()))
            self.report.say(
                f"{len(loader.bad)} clips could not be used and {loader.replaced} samples were replaced; "
                f"the first is {clip_id}: {why}"
            )
