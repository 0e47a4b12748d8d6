"""The only file that knows Ray: `ray.train` starts the same loop on workers and nodes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import torch

from datagen.errors import UserError
from trainer.train.job import Job
from trainer.train.loop import stop_file, train
from trainer.train.stop import StopRequest
from trainer.train.world import World


def train_here(job: Job) -> None:
    """Train in this process, on its GPU if it has one."""
    train(job, World.current("cuda" if torch.cuda.is_available() else "cpu"))


def train_on_ray(job: Job, workers: int, address: str | None) -> None:
    """Train on Ray workers, one GPU each where the cluster has GPUs. SIGTERM here stops all of them cleanly.

    Args:
        job: its output must be a folder that all nodes share.
        workers: processes.
        address: of a cluster; None starts a local Ray.

    Raises:
        UserError: the cluster cannot be reached or has too few GPUs, or training failed.
    """
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    try:
        ray.init(address=address, log_to_driver=True, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError) as error:
        raise UserError(f"cannot reach Ray at {address or 'this machine'}: {error}") from error
    gpus = int(ray.cluster_resources().get("GPU", 0))
    if 0 < gpus < workers:
        raise UserError(f"--workers {workers}, but the cluster has {gpus} GPUs; lower it", code=2)
    stop = stop_file(job.output)
    stop.unlink(missing_ok=True)
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus > 0),
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        run_config=RunConfig(
            name=job.output.name,
            storage_path=str((job.output / "ray").absolute()),
            failure_config=FailureConfig(max_failures=0),
        ),
    )
    request = StopRequest(stop)
    done = threading.Event()
    watcher = threading.Thread(target=_pass_on, args=(request, stop, done), daemon=True, name="stop request")
    with request.on_signals():
        watcher.start()
        try:
            trainer.fit()
        except ray.train.base_trainer.TrainingFailedError as error:
            raise UserError(f"training failed: {error}") from error
        finally:
            done.set()
            watcher.join()
            stop.unlink(missing_ok=True)


def _worker(settings: dict[str, Any]) -> None:
    from ray.train.torch import get_device

    train(settings["job"], World.current(get_device()), _say)


def _say(text: str) -> None:
    print(text, flush=True)


def _pass_on(request: StopRequest, file: Path, done: threading.Event) -> None:
    """A signal to this process becomes the file all workers look for."""
    while not done.wait(0.5):
        if request and not file.exists():
            file.touch()
