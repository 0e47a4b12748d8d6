"""Connection to Ray for the time of a run: to the named cluster, or to a Ray started on this machine."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.exceptions import RayError

from datagen.common.errors import UserError

OBJECT_STORE_BYTES = 150_000_000  # only tasks, settings and reports travel, which are small
CONNECT_S = 5.0  # limit for a TCP connection
ANSWER_S = 12.0  # limit for an answer of the cluster
JOIN = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False)"
CLIENT_PORT = 10001  # the port of ray:// addresses that name none
AUTH_HINT = (
    "its access token is missing here or differs: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or "
    "RAY_AUTH_TOKEN_PATH) to what `ray get-auth-token` prints on the head node"
)


@contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[None]:
    """Connect to Ray for the duration of the block; a cluster that was not started here is left running.

    Args:
        address: the cluster's address; None takes the one in `RAY_ADDRESS`, or starts a local Ray.
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
        if address and address != "local":
            _check_reachable(address)
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
        if not address:
            raise UserError(f"cannot start Ray: {brief(error)}") from error
        raise UserError(f"cannot join the Ray cluster {address}: {brief(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


def brief(error: BaseException | str) -> str:
    """First line of an error text; Ray's texts are pages long."""
    return str(error).strip().split("\n")[0]


def _check_reachable(address: str) -> None:
    """Check that a cluster answers: `ray.init` itself tries for more than a minute, then ends the process.

    Raises:
        UserError: nothing answers there, or it requires another token.
    """
    scheme, _, rest = address.rpartition("://")
    if scheme not in ("", "ray"):
        return  # addresses of other Ray providers are left to Ray
    if address != "auto":
        _check_port(address, rest, CLIENT_PORT if scheme else None)
    _check_health(address)


def _check_port(address: str, place: str, default_port: int | None) -> None:
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname, parts.port or default_port
    except ValueError:
        host = port = None
    if not host or not port:
        raise UserError(
            f"--address {address}: must be `auto`, `HOST:PORT` (mostly port 6379) or `ray://HOST:{CLIENT_PORT}`",
            code=2,
        )
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise UserError(
            f"no Ray cluster answers at {address} ({why}); check the address, that `ray start --head` runs there "
            "and that no firewall is between"
        ) from error


def _check_health(address: str) -> None:
    """Run the check in another process, which can be killed when it takes too long."""
    client = address.startswith("ray://")
    arguments = (
        ["-c", JOIN, address]
        if client
        else ["-m", "ray.scripts.scripts", "health-check", "--address", address]
    )
    try:
        done = subprocess.run(
            [sys.executable, "-P", *arguments], env={**os.environ, **_token_mode(address)}, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ANSWER_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        # a Ray client with a wrong token gets no answer instead of an error
        hint = f"; if it asks for a token, {AUTH_HINT}" if client else ""
        raise UserError(
            f"the Ray cluster {address} does not answer within {ANSWER_S:g} s; check with `ray status` on its head "
            f"node that it is running{hint}"
        ) from error
    if done.returncode and "AuthenticationError" in done.stderr:
        raise UserError(f"the Ray cluster {address} refuses this process: {AUTH_HINT}")
    if done.returncode and "No such command" not in done.stderr:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise UserError(f"cannot join the Ray cluster {address}: {said[-1].rpartition('Error: ')[2]}")


def _token_mode(address: str) -> dict[str, str]:
    """Environment of the health check: for `auto`, `ray.init` itself turns tokens on where there is one."""
    if address != "auto" or "RAY_AUTH_MODE" in os.environ:
        return {}
    named = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    return {"RAY_AUTH_MODE": "token"} if named or (Path.home() / ".ray" / "auth_token").exists() else {}
