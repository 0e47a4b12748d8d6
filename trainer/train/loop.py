"""The training loop of one rank."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from datagen.common.errors import UserError
from trainer.checkpoints.tensor_files import write_safetensors
from trainer.data import Batch
from trainer.diffusion.draws import Draws
from trainer.diffusion.schedule import TrainingSchedule
from trainer.model.config import MegActorConfig
from trainer.train.build import Components, build
from trainer.train.cost import peak_flops
from trainer.train.inputs import ModelInputs, draws_of, prepare
from trainer.train.job import Job
from trainer.train.metrics import LossTable, Reporter, Say, Speed, memory
from trainer.train.prefetch import Prefetcher
from trainer.train.ranks import Ranks
from trainer.train.state import checkpoint, rng
from trainer.train.step import accumulate_gradients
from trainer.train.stop import StopRequest
from trainer.train.watchdog import ActivityRecorder


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        steps: optimiser steps done, over all resumes.
        finished: whether those were all.
        checkpoint: the newest one.
    """

    steps: int
    finished: bool
    checkpoint: Path


def train(
    job: Job, ranks: Ranks, say: Say = print, recorder: ActivityRecorder | None = None
) -> TrainingResult:
    """Train until the last step, or until asked to stop; both end with a checkpoint.

    Args:
        job: the training job.
        ranks: rank, world size and device.
        say: prints a line; only the main rank's is called.
        recorder: keeps what this rank is doing.

    Raises:
        UserError: the job cannot be done, or the loss is no longer finite.
    """
    if job.config.threads is not None:
        torch.set_num_threads(job.config.threads)
    components = build(job, ranks, say)
    stop = StopRequest(stop_file(job.output))
    report = Reporter(job.output, components.train_state.step, say, ranks.is_main)
    try:
        with stop.on_signals():
            return _Run(job, ranks, components, report, stop, recorder or ActivityRecorder()).go()
    finally:
        report.close()


def stop_file(run: Path) -> Path:
    """The file that asks all workers of a run to stop, once it exists."""
    return run / "stop"


class _Run:
    def __init__(
        self,
        job: Job,
        ranks: Ranks,
        components: Components,
        report: Reporter,
        stop: StopRequest,
        recorder: ActivityRecorder,
    ) -> None:
        self.job, self.ranks, self.components, self.report, self.stop = job, ranks, components, report, stop
        self.recorder = recorder
        self.config, self.train_state = job.config, components.train_state
        self.accumulate = job.config.accumulate(ranks.size)
        self.position = components.loader.position
        self.saved = (
            self.train_state.step if checkpoint.folder_of(job.output, self.train_state.step).exists() else -1
        )

    def go(self) -> TrainingResult:
        config, train_state = self.config, self.train_state
        schedule = TrainingSchedule(train_state.architecture.diffusion)
        table, speed = LossTable(self.ranks.device), Speed()
        peak = (peak_flops(config, self.ranks.device) or 0.0) * self.ranks.size
        losses: list[float] = []
        stopping = False
        with closing(Prefetcher(self._batches())) as prefetcher:
            while train_state.step < config.steps and not stopping:
                waited = prefetcher.waited_s
                loss, norm, stopping = self._step(schedule, prefetcher, table)
                losses.append(loss)
                speed.add(prefetcher.waited_s - waited)
                rate = train_state.update()
                self.position += config.batch
                if train_state.step % config.log_every == 0 or train_state.step == config.steps:
                    values = {
                        "loss": sum(losses) / len(losses),
                        "grad_norm": norm,
                        "learning_rate": rate,
                        **speed.rates(config.batch, self.components.cost.step_flop, peak),
                        **memory(self.ranks.device),
                        **table.means(self.ranks),
                        "data/clips_skipped": len(self.components.loader.bad),
                        "data/samples_replaced": self.components.loader.replaced,
                    }
                    losses.clear()
                    self.report.log(train_state.step, values)
                    self.report.progress(train_state.step, config.steps, values)
                with speed.paused():
                    if train_state.step % config.checkpoints.every == 0:
                        self._save()
                    if config.validation.every and train_state.step % config.validation.every == 0:
                        self._validate()
        self._save()
        finished = train_state.step == config.steps
        result = TrainingResult(
            train_state.step, finished, checkpoint.folder_of(self.job.output, train_state.step)
        )
        if self.ranks.is_main:
            self._print_result(result)
        return result

    def _batches(self) -> Iterator[tuple[Batch, Draws]]:
        """Batches with their random numbers, from the state's step on."""
        architecture, step = self.train_state.architecture, self.train_state.step
        for index, batch in enumerate(self.components.loader):
            channels = architecture.model.latent_channels
            number = step + index // self.accumulate
            draws = draws_of(batch, architecture.diffusion, channels, seed=self.config.seed, step=number)
            if self.ranks.device.type == "cuda":
                draws = draws.map(lambda tensor: tensor.pin_memory())
            yield batch, draws

    def _step(
        self, schedule: TrainingSchedule, prefetcher: Iterator[tuple[Batch, Draws]], table: LossTable
    ) -> tuple[float, float, bool]:
        """Compute and clip the gradients of one step.

        Returns:
            Mean loss over all ranks, gradient norm before clipping, and whether a rank was asked to stop.
        """
        taken: list[ModelInputs] = []

        def prepared() -> Iterator[ModelInputs]:
            self.recorder.record("waiting for data", self.train_state.step)
            for batch, draws in prefetcher:
                self.recorder.record("training", self.train_state.step)
                current = self.components.loader.without_withdrawn(batch)
                taken[:] = [prepare(current, draws, self.components.frozen, self.ranks.device)]
                yield taken[0]
                self.recorder.record("waiting for data", self.train_state.step)

        loss = accumulate_gradients(
            self.train_state.forward, schedule, prepared(), self.accumulate, self.config, table
        ).item()
        norm = self.train_state.clip().item()
        finite = math.isfinite(loss) and math.isfinite(norm)
        total, failures, stops = self.ranks.sums([loss, float(not finite), float(bool(self.stop))])
        if failures:
            raise UserError(self._save_failed_batch(taken[0], loss, norm))
        return total / self.ranks.size, norm, stops > 0

    def _save_failed_batch(self, inputs: ModelInputs, loss: float, norm: float) -> str:
        """Save the last micro-batch of a step whose loss or gradient is not finite; returns the error message."""
        step = self.train_state.step
        path = self.job.output / f"not-finite-step-{step:08d}-rank{self.ranks.rank}.safetensors"
        write_safetensors(path, inputs.tensors())
        return (
            f"step {step}: loss {loss}, gradient norm {norm} on worker {self.ranks.rank}; the step was not taken, its "
            f"last micro-batch is in {path}; lower optimiser.learning_rate or use precision: fp32, then --resume"
        )

    def _validate(self) -> None:
        if self.components.validator is None:
            return
        self.recorder.record("validating", self.train_state.step)
        values = self.components.validator.run(self.train_state)
        self.report.log(self.train_state.step, values)
        self.report.say(f"validation at step {self.train_state.step}: loss {values['validation/loss']:.4f}")

    def _save(self) -> None:
        """Save a checkpoint of this step, unless there is one; every rank must call this."""
        train_state, ranks = self.train_state, self.ranks
        if self.saved == train_state.step:
            return
        self.recorder.record("saving", train_state.step)
        own = rng.capture(ranks.device)
        gathered = {name: ranks.gather(tensor) for name, tensor in own.items()}
        if ranks.is_main:
            rngs = {
                f"{rank}.{name}": t for name, tensors in gathered.items() for rank, t in enumerate(tensors)
            }
            progress = checkpoint.TrainingProgress(
                step=train_state.step,
                stage=self.config.stage,
                data=replace(self.components.loader.state(), position=self.position),
                recipes=list(self.components.loader.data.recipes),
                ranks=ranks.size,
                config=self.config.model_dump(mode="json"),
            )
            architecture: MegActorConfig = train_state.architecture
            weights = checkpoint.Weights(
                architecture,
                self.components.origins,
                train_state.model.state_dict(),
                train_state.averages(),
                self.components.vae,
            )
            checkpoint.save(
                self.job.output,
                progress,
                weights,
                train_state.optimiser_tensors(),
                rngs,
                self.config.checkpoints.keep,
            )
        ranks.wait()
        self.saved = train_state.step

    def _print_result(self, result: TrainingResult) -> None:
        """Print what was done, and what can be done next."""
        run, loader = self.job.output, self.components.loader
        if result.finished:
            weights = checkpoint.usable_weights(result.checkpoint)
            self.report.say(f"finished {result.steps} steps; weights in {weights}")
            self.report.say(f"  look at   tensorboard --logdir {run / 'tensorboard'}")
            self.report.say(f"  next      another stage with --init {run}, or `weights export {weights}`")
        else:
            self.report.say(
                f"stopped at step {result.steps} of {self.config.steps}; --resume continues from here"
            )
        if loader.bad:
            clip_id, why = next(iter(loader.bad.items()))
            self.report.say(
                f"{len(loader.bad)} clips could not be used and {loader.replaced} samples were replaced; "
                f"the first is {clip_id}: {why}"
            )
