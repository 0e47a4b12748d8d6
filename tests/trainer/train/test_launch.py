"""Training under Ray equals training in one process."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import ray

from datagen.common.errors import UserError
from tests.support import ROOT
from tests.trainer.train.runs import CPU, SMALL, MakeJob, losses, silent
from trainer.data import DataSource
from trainer.train.job import Job, load_config
from trainer.train.launch import _reason, train_on_ray
from trainer.train.loop import train


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # the workers' working directory is another
        patch.setenv("RAY_worker_niceness", "0")  # full priority for the workers
        ray.init(num_cpus=3, include_dashboard=False)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def shared(cluster: None, footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A finished run of twelve steps on two workers."""
    config = load_config("tiny-image", [*SMALL, "steps=12"])
    made = Job(config, (DataSource(path=str(footage)),), tmp_path_factory.mktemp("shared") / "run")
    train_on_ray(made, 2, None)
    return made


def test_two_ray_workers_train_as_one_process_does(job: MakeJob, shared: Job) -> None:
    alone = job("tiny-image", "steps=12", run="alone")
    train(alone, CPU, silent)
    assert losses(shared.output) == pytest.approx(losses(alone.output), rel=1e-4)
    with pytest.raises(UserError, match="--resume goes on from there"):
        train_on_ray(shared, 2, None)
    with pytest.raises(UserError, match="cannot be continued"):
        changed = shared.config.model_copy(update={"seed": 1, "steps": 13})
        train_on_ray(replace(shared, config=changed, resume=True), 2, None)


def test_training_in_this_process_imports_no_ray() -> None:
    program = "import sys, trainer.commands.train, trainer.train.launch; sys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_killed_and_stopped_workers_lose_only_the_steps_since_the_checkpoint(
    job: MakeJob, shared: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    struck = job("tiny-image", "steps=12", "watching.silent_s=4", run="struck")
    strikes = ((3, signal.SIGKILL), (7, signal.SIGSTOP))
    striker = threading.Thread(target=strike_workers, args=(struck.output, strikes))
    striker.start()
    train_on_ray(struck, 2, None)
    striker.join()
    assert list(losses(struck.output)) == list(range(1, 13))
    assert losses(struck.output) == losses(shared.output)
    (ended,) = [line for line in capsys.readouterr().out.splitlines() if "all workers are killed" in line][
        -1:
    ]
    assert re.match(
        r"no heartbeat for \d+ s, after step \d+, from worker \d \(process \d+ on [\d.]+\)", ended
    )


def strike_workers(run: Path, strikes: Sequence[tuple[int, signal.Signals]]) -> None:
    """Send signals to one of the training processes, each after a given step."""
    for step, blow in strikes:
        while not (run / "log.jsonl").exists() or step not in losses(run):
            time.sleep(0.01)
        workers = [
            p
            for p in psutil.Process().children(recursive=True)
            if "TrainWorker" in p.name() + "".join(p.cmdline())
        ]
        workers[-1].send_signal(blow)


def test_a_failure_is_one_line_of_the_first_worker() -> None:
    class FailedError(Exception):
        def __init__(self) -> None:
            self.worker_failures = {1: ValueError("later"), 0: RuntimeError("out of memory\nTraceback ...")}

    assert _reason(FailedError()) == "worker 0: RuntimeError: out of memory"
    assert _reason(Exception("no room")) == "no room"
