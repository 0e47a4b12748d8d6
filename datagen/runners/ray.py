"""The Ray runner: actors, each with one worker, take tasks as they become idle; the driver replaces lost actors.

No task is assigned ahead: an idle actor gets the next one, and the task of a lost actor goes back to the front of the
queue. Ray itself restarts nothing (`max_restarts=0`): tasks bound to a restarting actor would wait for its node. Only
tasks and counters travel between processes. Every node of a cluster needs the same software (nodes with other software
are left out) and the output folder under the same path.
"""

from __future__ import annotations

from collections.abc import Iterable

from datagen.runners.cluster import connected
from datagen.runners.scheduler import Scheduler
from datagen.runners.supervise import Supervision
from datagen.runners.tasks import Factory, OnReport, Task, interruptible

PATIENCE_S = 120.0  # without a single worker placed on a node


def run_ray(
    factory: Factory,
    tasks: Iterable[Task],
    on_report: OnReport,
    *,
    address: str | None = None,
    workers: int | None = None,
    supervision: Supervision = Supervision(),  # noqa: B008 - frozen
    patience_s: float = PATIENCE_S,
) -> None:
    """Do all tasks with Ray actors.

    An actor that dies, takes longer than its task's limit or does not answer is replaced, and its task is tried again;
    after `LOSSES_BEFORE_ISOLATION` losses with `isolate` set.

    Args:
        factory: makes a worker in each actor; must be importable on the nodes.
        tasks: may be a generator; it is read as far ahead as there are workers.
        on_report: called in this process for each task that is over, in the order they finish.
        address: cluster to join (`auto`, `host:port`, `ray://...`), default `RAY_ADDRESS`, else a local Ray
            is started and shut down at the end.
        workers: actors, one CPU each; default one per GPU where the cluster has GPUs, else one per CPU. More
            workers than GPUs share them.
        supervision: how the workers are supervised, and the fingerprint their nodes must have.
        patience_s: how long to wait while no worker can be placed on any node.

    Raises:
        UserError: a worker reports what only the user can solve (running tasks are finished first), no worker can be
            placed or started, no node has the right software, or the cluster is lost.
    """
    with (
        interruptible(),
        connected(address, workers),
        interruptible(),
    ):  # ray.init sets its own SIGTERM handler
        Scheduler(factory, iter(tasks), on_report, workers, supervision, patience_s).work()
