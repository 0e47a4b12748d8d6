"""Ray for as long as it is needed: the cluster that is named, or one started on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError

from datagen.errors import UserError

OBJECT_STORE_BYTES = 150_000_000  # what travels is small: tasks, settings and reports


@contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[None]:
    """Ray for the duration of the block; what was not started here is left running.

    Args:
        address: of a cluster; None takes that of `RAY_ADDRESS`, or starts a local Ray.
        workers: CPUs of a local Ray; None takes all that this process may use.

    Raises:
        UserError: no such cluster, or Ray cannot be started.
    """
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: must be at least 1", code=2)
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            ray.init(
                address="local",
                num_cpus=workers or len(os.sched_getaffinity(0)),
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                **quiet,
            )
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        target = f"cannot join the Ray cluster {address}" if address else "cannot start Ray"
        raise UserError(f"{target}: {brief(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


def brief(error: BaseException) -> str:
    """First line of what an error says; Ray's go on for pages."""
    return str(error).strip().split("\n")[0]
