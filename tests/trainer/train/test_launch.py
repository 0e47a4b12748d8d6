"""Ray starts the same loop."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import ray

from datagen.errors import UserError
from train.conftest import CPU, losses
from train.runs import silent
from trainer.train.job import Job
from trainer.train.launch import train_on_ray
from trainer.train.loop import train

MakeJob = Callable[..., Job]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "PYTHONPATH", str(Path(__file__).parents[3])
        )  # the workers' working directory is another
        patch.setenv("RAY_worker_niceness", "0")  # tests must not starve beside other work
        ray.init(num_cpus=3, include_dashboard=False)
        yield
        ray.shutdown()


def test_two_ray_workers_train_as_one_process_does(job: MakeJob) -> None:
    alone = job("tiny-image", "steps=2", run="alone")
    train(alone, CPU, silent)
    shared = job("tiny-image", "steps=2", run="shared")
    train_on_ray(shared, 2, None)
    assert losses(shared.output) == pytest.approx(losses(alone.output), rel=1e-5)
    with pytest.raises(UserError, match="--resume goes on from there"):
        train_on_ray(shared, 2, None)
    with pytest.raises(UserError, match="cannot be continued"):
        changed = shared.config.model_copy(update={"seed": 1, "steps": 3})
        train_on_ray(replace(shared, config=changed, resume=True), 2, None)


def test_training_in_this_process_imports_no_ray() -> None:
    program = "import sys, trainer.cli, trainer.train.launch; sys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], check=True)


def test_a_killed_or_stopped_worker_costs_only_the_steps_since_the_checkpoint(
    job: MakeJob, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = job("tiny-image", "steps=12", run="undisturbed")
    train_on_ray(undisturbed, 2, None)
    for blow in (signal.SIGKILL, signal.SIGSTOP):
        struck = job("tiny-image", "steps=12", "watching.silent_s=4", run=blow.name)
        striker = threading.Thread(target=strike_a_worker_after, args=(struck.output, 3, blow))
        striker.start()
        capsys.readouterr()
        train_on_ray(struck, 2, None)
        striker.join()
        assert list(losses(struck.output)) == list(range(1, 13))
        assert losses(struck.output) == losses(undisturbed.output)
    said = capsys.readouterr().out
    assert re.search(
        r"no sign of life for \d+ s, after step \d+, of worker \d \(process \d+ on [\d.]+\)", said
    )
    assert "all workers are ended\n" in said


def strike_a_worker_after(run: Path, step: int, blow: signal.Signals) -> None:
    """Send a signal to one of the processes that train, once they have done some steps."""
    while not (run / "log.jsonl").exists() or step not in losses(run):
        time.sleep(0.01)
    workers = [
        p
        for p in psutil.Process().children(recursive=True)
        if "TrainWorker" in p.name() + "".join(p.cmdline())
    ]
    workers[-1].send_signal(blow)
