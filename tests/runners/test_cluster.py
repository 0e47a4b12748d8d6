"""A missing or closed cluster gives a one-line error."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from datagen.common.errors import UserError

ray = pytest.importorskip("ray")

from datagen.runners import cluster  # noqa: E402
from tests.support import ROOT  # noqa: E402

HEAD = """
import sys
from ray.cluster_utils import Cluster
made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
print(made.address, flush=True)
sys.stdin.read()
made.shutdown()
"""
JOIN = """
import sys
from datagen.common.errors import UserError
from datagen.runners.cluster import connected
try:
    with connected(sys.argv[1], None):
        print("joined")
except UserError as error:
    print("error:", error)
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def join(address: str) -> None:
    with cluster.connected(address, None):
        raise AssertionError("joined what is not there")


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_without_a_listener_is_one_error(listener: socket.socket, scheme: str) -> None:
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(UserError, match=f"no Ray cluster answers at {scheme}127.0.0.1:{port} .*refused"):
        join(f"{scheme}127.0.0.1:{port}")


def test_a_host_that_drops_packets_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def silence(place: tuple[str, int], seconds: float) -> socket.socket:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", silence)
    with pytest.raises(UserError, match=r"answers at 192\.0\.2\.7:6379 \(no answer\)"):
        join("192.0.2.7:6379")


def test_an_address_of_another_service_is_one_error(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ANSWER_S", 4.0)
    with pytest.raises(UserError, match="does not answer within 4 s"):
        join(f"127.0.0.1:{listener.getsockname()[1]}")


@pytest.mark.parametrize("address", ["nonsense", "head:port", "head", "[::1", "ray://"])
def test_malformed_addresses_are_refused(address: str) -> None:
    with pytest.raises(UserError, match="must be `auto`, `HOST:PORT`") as caught:
        join(address)
    assert caught.value.code == 2


def test_a_cluster_with_a_token_accepts_only_that_token() -> None:
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}
    base = {key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")}
    base |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    head = subprocess.Popen(
        [sys.executable, "-c", HEAD], env=base | token, text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert head.stdout
        address = next(line.strip() for line in head.stdout if line[0].isdigit())

        def answer(**environment: str) -> str:
            line = [sys.executable, "-c", JOIN, address]
            done = subprocess.run(
                line, env=base | environment, capture_output=True, text=True, check=True, timeout=60
            )
            return done.stdout

        began = time.monotonic()
        for wrong in ({}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "b" * 64}):
            said = answer(**wrong)
            assert said.count("\n") == 1 and "refuses this process" in said and "RAY_AUTH_TOKEN" in said
        assert time.monotonic() - began < 40
        assert answer(**token) == "joined\n"
    finally:
        head.communicate("")
