"""`ray.train` starts the same loop on workers and nodes. Besides `signs`, the only file that knows Ray."""

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
from trainer.train.watch import Watch

RESTARTS = 3  # of all workers, after one of them or its node was lost


def train_here(job: Job, say: Say = print) -> None:
    """Train in this process, on its GPU if it has one.

    Args:
        job: what the user asked for.
        say: prints a line.
    """
    stop_file(job.output).unlink(missing_ok=True)
    train(job, Ranks.current("cuda" if torch.cuda.is_available() else "cpu"), say)


def train_on_ray(job: Job, workers: int, address: str | None) -> None:
    """Train on Ray workers, one GPU each where the cluster has GPUs.

    SIGTERM here stops all of them cleanly. When one is lost, or stops getting on, all go on from the newest checkpoint.

    Args:
        job: its output must be a folder that all nodes share.
        workers: processes.
        address: of a cluster; None starts a local Ray.

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
    with connected(address, workers), _in_touch(job) as touch:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        if 0 < gpus < workers:
            raise UserError(f"--workers {workers}, but the cluster has {gpus} GPUs; lower it", code=2)
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"job": replace(job, resume=True), "signs": touch.signs},
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
            why = f"{touch.ended}, for the {RESTARTS + 1}th time" if touch.ended else _reason(error)
            raise UserError(f"training failed: {why}; {_way_on(job)}") from error


def _worker(settings: dict[str, Any]) -> None:
    """One worker's share. What the user must mend is kept in a file: restarted workers need not find it again."""
    from ray.train.torch import get_device

    from trainer.train.signs import giving_signs

    job: Job = settings["job"]
    if _refusal(job).exists():
        raise UserError(_refusal(job).read_text(encoding="utf-8"))
    try:
        ranks = Ranks.current(get_device())
        with (
            giving_signs(settings["signs"], ranks) as pulse,
            _console(job).open("a", encoding="utf-8", buffering=1) as console,
        ):
            train(job, ranks, lambda text: print(plain(text), file=console), pulse)
    except UserError as error:
        _refusal(job).write_text(str(error), encoding="utf-8")
        raise


@dataclass
class _Touch:
    """What is between the command and its workers.

    Attributes:
        signs: handle of the actor that hears their signs of life.
        ended: why the watch ended them the last time.
    """

    signs: Any
    ended: str | None = None


@contextmanager
def _in_touch(job: Job) -> Iterator[_Touch]:
    """Inside the block the workers' lines come out here, a signal to this process reaches them, and they are watched.

    Lines and signals go through files of the run, which all nodes share: Ray's own way mixes the lines with its many.
    """
    from trainer.train.signs import EVERY_S, ask, open_signs

    stop = stop_file(job.output)
    request, done = StopRequest(stop), threading.Event()
    touch, watching = _Touch(open_signs()), Watch(job.config.watching)

    def watch() -> None:
        position, ended, looked = 0, False, 0.0
        while not ended:
            ended = done.wait(0.5)
            if request and not stop.exists():
                stop.touch()
            if _console(job).exists():
                with _console(job).open(encoding="utf-8") as console:
                    console.seek(position)
                    print(console.read(), end="", flush=True)
                    position = console.tell()
            if ended or time.monotonic() - looked < EVERY_S:
                continue
            looked = time.monotonic()
            if (heard := ask(touch.signs)) is None:
                continue
            verdict = watching.look(heard, time.monotonic())
            if verdict.line:
                print(verdict.line, flush=True)
            if verdict.end:
                touch.ended = verdict.line
                touch.signs.end.remote()
            elif heard:
                touch.ended = None  # the next attempt is at work

    watcher = threading.Thread(target=watch, daemon=True, name="in touch with workers")
    with request.on_signals():
        watcher.start()
        try:
            yield touch
        finally:
            done.set()
            watcher.join()
            stop.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """What went wrong, in one line: of the first worker that failed, where any did."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    if not failures:
        return str(error)
    rank, failure = min(failures.items(), key=lambda item: item[0])
    text = str(failure).strip().splitlines()
    return f"worker {rank}: {type(failure).__name__}{': ' + text[0] if text else ''}"


def _way_on(job: Job) -> str:
    """What to do after a failure."""
    existing = checkpoints(job.output)
    where = f"from {existing[-1].name}" if existing else "from the start, as there is no checkpoint yet"
    return f"mend what is wrong, then --resume goes on {where}"


def _console(job: Job) -> Path:
    return job.output / "console.txt"


def _refusal(job: Job) -> Path:
    return job.output / "refused.txt"


def _absolute(job: Job) -> Job:
    """The job with paths that hold in other working directories."""

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
