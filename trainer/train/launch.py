"""Starts training: in this process, or with `ray.train` on several workers and nodes.

Only this file and `heartbeats` import Ray.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from datagen.common.errors import UserError
from datagen.common.text import plain
from trainer.train.checks import per_rank_config
from trainer.train.config import NETWORKS
from trainer.train.job import Job
from trainer.train.loop import stop_file, train
from trainer.train.metrics import Say
from trainer.train.ranks import Ranks
from trainer.train.state.checkpoint import checkpoints, refuse_unless_resumed
from trainer.train.stop import StopRequest
from trainer.train.watchdog import Watchdog

RESTARTS = 3  # how often all workers are restarted after one of them or its node was lost
POLL_S = 0.5  # seconds between two checks for worker output and stop requests


def train_here(job: Job, say: Say = print) -> None:
    """Train in this process, on its GPU if it has one.

    Args:
        job: the training job.
        say: prints a line.
    """
    stop_file(job.output).unlink(missing_ok=True)
    train(job, Ranks.current("cuda" if torch.cuda.is_available() else "cpu"), say)


def train_on_ray(job: Job, workers: int, address: str | None) -> None:
    """Train on Ray workers, each with one GPU where the cluster has GPUs.

    SIGTERM to this process stops all workers after a checkpoint. When a worker is lost or makes no progress, all of
    them start again from the newest checkpoint.

    Args:
        job: the training job; its output folder must be on storage that all nodes share.
        workers: number of processes.
        address: the cluster's address; None starts a local Ray.

    Raises:
        UserError: the cluster cannot be reached or has too few GPUs, or training failed.
    """
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    from datagen.runners.cluster import connected  # imports Ray, which training in this process does without

    job = _absolute(job)
    refuse_unless_resumed(job.output, job.resume)
    per_rank_config(job.config, workers)
    job.output.mkdir(parents=True, exist_ok=True)
    for file in (stop_file(job.output), _refusal(job), _console(job)):
        file.unlink(missing_ok=True)
    with connected(address, workers), _supervised(job) as supervision:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        if 0 < gpus < workers:
            raise UserError(f"--workers {workers}, but the cluster has {gpus} GPUs; lower it", code=2)
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"job": replace(job, resume=True), "collector": supervision.collector},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus > 0),
            torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
            run_config=RunConfig(
                name=job.output.name,
                storage_path=str(job.output / "ray"),
                failure_config=FailureConfig(max_failures=RESTARTS),
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            if _refusal(job).exists():
                raise UserError(_refusal(job).read_text(encoding="utf-8")) from error
            stopped = supervision.stopped
            why = f"{stopped}, for the {RESTARTS + 1}th time" if stopped else _reason(error)
            raise UserError(f"training failed: {why}; {_next_step(job)}") from error


def _worker(settings: dict[str, Any]) -> None:
    """What each worker runs. A `UserError` is kept in a file, so restarted workers fail at once with the same error."""
    from ray.train.torch import get_device

    from trainer.train.heartbeats import sending_heartbeats

    job: Job = settings["job"]
    if _refusal(job).exists():
        raise UserError(_refusal(job).read_text(encoding="utf-8"))
    try:
        ranks = Ranks.current(get_device())
        with (
            sending_heartbeats(settings["collector"], ranks) as recorder,
            _console(job).open("a", encoding="utf-8", buffering=1) as console,
        ):
            train(job, ranks, lambda text: print(plain(text), file=console), recorder)
    except UserError as error:
        _refusal(job).write_text(str(error), encoding="utf-8")
        raise


@dataclass
class _Supervision:
    """What the command knows of its workers.

    Attributes:
        collector: handle of the actor that receives their heartbeats.
        stopped: why the watchdog killed the last attempt; None once another attempt is running.
    """

    collector: Any
    stopped: str | None = None


@contextmanager
def _supervised(job: Job) -> Iterator[_Supervision]:
    """Inside the block a thread prints the workers' lines, passes a stop signal on to them, and runs the watchdog.

    Lines and stop requests go through files of the run's folder, which all nodes share. Ray could forward the lines
    too, but would mix them with its own.
    """
    from trainer.train.heartbeats import INTERVAL_S, received_heartbeats, start_collector

    stop = stop_file(job.output)
    request, done = StopRequest(stop), threading.Event()
    supervision, watchdog = _Supervision(start_collector()), Watchdog(job.config.watching)

    def supervise() -> None:
        position, ended, checked = 0, False, 0.0
        while not ended:
            ended = done.wait(POLL_S)
            if request and not stop.exists():
                stop.touch()
            if _console(job).exists():
                with _console(job).open(encoding="utf-8") as console:
                    console.seek(position)
                    print(console.read(), end="", flush=True)
                    position = console.tell()
            if ended or time.monotonic() - checked < INTERVAL_S:
                continue
            checked = time.monotonic()
            if (received := received_heartbeats(supervision.collector)) is None:
                continue
            verdict = watchdog.check(received, time.monotonic())
            if verdict.line:
                print(verdict.line, flush=True)
            if verdict.end:
                supervision.stopped = verdict.line
                supervision.collector.kill_workers.remote()
            elif received:
                supervision.stopped = None  # the next attempt is running

    supervisor = threading.Thread(target=supervise, daemon=True, name="supervision of workers")
    with request.on_signals():
        supervisor.start()
        try:
            yield supervision
        finally:
            done.set()
            supervisor.join()
            stop.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """What went wrong, in one line; of several failed workers, the error of the lowest rank."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    if not failures:
        return str(error)
    rank, failure = min(failures.items(), key=lambda item: item[0])
    text = str(failure).strip().splitlines()
    return f"worker {rank}: {type(failure).__name__}{': ' + text[0] if text else ''}"


def _next_step(job: Job) -> str:
    """What the user can do after a failure."""
    existing = checkpoints(job.output)
    where = f"from {existing[-1].name}" if existing else "from the start, as there is no checkpoint yet"
    return f"fix the cause, then --resume continues {where}"


def _console(job: Job) -> Path:
    return job.output / "console.txt"


def _refusal(job: Job) -> Path:
    return job.output / "refused.txt"


def _absolute(job: Job) -> Job:
    """The job with absolute paths, which hold in the working directories of other processes."""

    def full(path: str) -> str:
        return str(Path(path).absolute()) if path not in NETWORKS and Path(path).exists() else path

    config = job.config
    return replace(
        job,
        config=config.model_copy(
            update={
                "codec": full(config.codec),
                "image_encoder": config.image_encoder and full(config.image_encoder),
            }
        ),
        sources=tuple(source.model_copy(update={"path": full(source.path)}) for source in job.sources),
        output=job.output.absolute(),
        init=job.init and job.init.absolute(),
    )
