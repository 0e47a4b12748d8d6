"""The Ray runner on a two-node cluster of this machine: what dies costs only time."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datagen.errors import UserError
from datagen.runners import Report, Task

from . import workers
from .workers import Broken, Reports, Toy, tasks

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


def test_an_error_instead_of_waiting_for_ever(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no worker could be placed for 1 s.*0 CPUs"):
        run_ray(Toy(tmp_path), tasks("work"), Reports(), patience_s=1)


def test_a_mixed_bag_on_one_node(cluster: Any, tmp_path: Path) -> None:
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
    cluster.remove_node(node)


def test_nodes_die_and_come_late(cluster: Any, tmp_path: Path) -> None:
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


def test_a_local_ray_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
