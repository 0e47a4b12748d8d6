"""The Ray runner on a two-node cluster of this machine: killed workers and nodes lose no task."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datagen.common.errors import UserError
from datagen.runners import Fingerprint, Report, Supervision, Task
from tests.runners import workers
from tests.runners.workers import Broken, NodeFingerprint, Reports, Toy, tasks

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

from datagen.runners.ray import run_ray  # noqa: E402


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without CPUs; tests add the nodes they need."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    ray.cloudpickle.register_pickle_by_value(workers)  # tests are not installed on the nodes
    yield made
    ray.shutdown()
    made.shutdown()


def remove(cluster: Any, node: Any) -> None:
    """Remove a node, and wait until the cluster knows of it."""
    cluster.remove_node(node)
    deadline = time.monotonic() + 60
    while any(item["Alive"] and item["NodeID"] == node.node_id for item in ray.nodes()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_cluster_without_room_for_a_worker_is_an_error(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no worker could be placed for 1 s.*0 CPUs"):
        run_ray(Toy(tmp_path), tasks("work"), Reports(), patience_s=1)


def test_tasks_of_every_outcome_on_one_node(cluster: Any, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=2)
    reports, toy = Reports(), Toy(tmp_path)
    bag = tasks("work", "kill", "raise", "raise once", "refuse", "work", "work")
    once = tasks(*["work"] * 7, "kill", times=1)[7:]
    run_ray(toy, [*bag, *once], reports)
    assert reports["u0"] == {"clips": 1, "frames": 10, "isolated": 0, "seconds": {"swap": 0.5}}
    assert reports["u1"]["isolated"] == 1 and toy.attempts("u1") == 3
    assert reports["u2"]["reason"] == "internal" and "KeyError" in reports["u2"]["message"]
    assert reports["u3"]["clips"] == 1 and toy.attempts("u3") == 2
    assert reports["u4"] == {"reason": "no_face", "message": "nobody there"} and toy.attempts("u4") == 1
    assert reports["u7"]["isolated"] == 0 and toy.attempts("u7") == 2
    assert len(reports) == 8

    with pytest.raises(UserError, match="disk is full"):
        run_ray(toy, tasks("stop", *["work"] * 50), Reports())
    with pytest.raises(UserError, match="model file is missing"):
        run_ray(Broken(), tasks("work"), Reports())
    remove(cluster, node)


def test_workers_that_hang_or_are_stopped_are_replaced(cluster: Any, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=3)
    said: list[str] = []
    silent: set[str] = set()
    supervision = Supervision(
        say=said.append,
        on_wait=lambda workers: silent.update(worker.task for worker in workers if worker.silent_s),
        logs=tmp_path / "logs", ping_s=0.2, silent_s=2.0, lost_s=5.0,
    )  # fmt: skip
    reports, toy = Reports(), Toy(tmp_path)
    bag = [*tasks("freeze once", "work"), *tasks("work", "work", "hang", limit_s=1.5)[2:]]
    run_ray(toy, bag, reports, supervision=supervision)
    assert reports["u0"]["isolated"] == 0 and toy.attempts("u0") == 2
    assert reports["u1"]["clips"] == 1
    assert reports["u2"]["isolated"] == 1 and toy.attempts("u2") == 3
    assert len(said) == 1 and "on node " in said[0] and "u0 will be tried again after 5 s" in said[0]
    assert silent == {"u0"}
    log = (tmp_path / "logs" / "tasks" / "synthesise-u2.log").read_text()
    assert log.count("took longer than 1.5 s (worker ") == 2 and "in run" in log
    remove(cluster, node)


def test_nodes_with_other_software_are_left_out(cluster: Any, tmp_path: Path) -> None:
    good, bad = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=2)
    said: list[str] = []
    supervision = Supervision(
        say=said.append,
        logs=tmp_path / "logs",
        fingerprint=NodeFingerprint(bad.node_id),
        expected=Fingerprint({"numpy": "2.0"}, {"cpu_features": "avx2"}),
    )
    reports = Reports()
    bag = tasks(*["work"] * 6, sleep=0.5)  # long enough for a worker to start on the other node too
    run_ray(Toy(tmp_path), bag, reports, supervision=supervision, workers=2)
    assert len(reports) == 6
    assert [line for line in said if "left out" in line] == [
        line for line in said if "numpy is 1.0 there" in line
    ]
    others = [line for line in said if "left out" not in line]
    assert others and all("cpu_features is sse4 there and avx2 in this run" in line for line in others)
    nodes = json.loads((tmp_path / "logs" / "nodes.json").read_text())
    refused = {node["node"]: node["refused"] for node in nodes}
    assert refused[good.node_id] is False and refused[bad.node_id] is True

    remove(cluster, good)
    with pytest.raises(UserError, match=r"no node of the cluster makes the same bytes.*numpy is 1\.0 there"):
        run_ray(Toy(tmp_path), tasks("work"), Reports(), supervision=supervision)
    remove(cluster, bad)


def test_nodes_may_die_and_join_during_a_run(cluster: Any, tmp_path: Path) -> None:
    first = cluster.add_node(num_cpus=2)
    reports, toy = Reports(), Toy(tmp_path)

    def on_report(task: Task, report: Report) -> None:
        reports(task, report)
        if len(reports) == 3:
            cluster.remove_node(first, allow_graceful=False)
            cluster.add_node(num_cpus=1)

    run_ray(toy, tasks(*["work"] * 12, sleep=0.2), on_report)
    assert len(reports) == 12 and all(report["clips"] == 1 for report in reports.values())
    assert not any(report["isolated"] for report in reports.values()), "a lost node is not the task's fault"


def test_a_local_ray_ends_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports, toy = Reports(), Toy(tmp_path)
    ray.shutdown()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def on_report(task: Task, report: Report) -> None:
        reports(task, report)
        if len(reports) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        run_ray(toy, tasks(*["work"] * 50), on_report, workers=1)
    assert not ray.is_initialized() and len(reports) == 2
