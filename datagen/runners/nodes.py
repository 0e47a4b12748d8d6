"""The nodes of a Ray cluster: which are alive, how many actors they can hold, which make the same bytes as this run."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import ray

from datagen.runners.supervise import Fingerprint, Supervision


class Nodes:
    """Nodes whose fingerprints were compared with the one of this run.

    Attributes:
        accepted: ids of nodes whose workers may work.
        refused: id -> why, of nodes whose workers would make other bytes.
    """

    def __init__(self, supervision: Supervision) -> None:
        self.accepted: set[str] = set()
        self.refused: dict[str, str] = {}
        self._supervision = supervision
        self._records: list[dict[str, Any]] = []

    def check(self, node: str, found: Fingerprint) -> bool:
        """Whether a node's workers may work; differences are told once for each node and kept in `nodes.json`."""
        if node in self.accepted or node in self.refused:
            return node in self.accepted
        expected = self._supervision.expected
        differs = _differences(found.must, expected.must)
        if differs:
            self.refuse(node, differs)
            return False
        self.accepted.add(node)
        differs = _differences(found.may, expected.may)
        if differs:
            self._supervision.say(f"warning: node {host_of(node)}: {differs}; bytes of new clips may differ")
        self._save({"node": node, "host": host_of(node), "refused": False, "differs": differs})
        return True

    def refuse(self, node: str, why: str) -> None:
        """Leave a node out, and tell the user once."""
        if node not in self.refused:
            self.refused[node] = f"node {host_of(node)}: {why}"
            self._supervision.say(
                f"warning: {self.refused[node]}; it is left out; install the same software there"
            )
            self._save({"node": node, "host": host_of(node), "refused": True, "differs": why})

    def all_refused(self) -> bool:
        """Whether every node that is alive and has CPUs was refused."""
        with_cpus = [node["NodeID"] for node in alive_nodes() if node["Resources"].get("CPU", 0)]
        return bool(with_cpus) and all(node in self.refused for node in with_cpus)

    def placement(self) -> dict[str, Any]:
        """Options of an actor that keep it off refused nodes."""
        if not self.refused:
            return {}
        return {"label_selector": {"ray.io/node-id": f"!in({','.join(sorted(self.refused))})"}}

    def total(self, resource: str) -> float:
        """How much of a resource the nodes that are not refused have together."""
        usable = [node for node in alive_nodes() if node["NodeID"] not in self.refused]
        return sum(node["Resources"].get(resource, 0.0) for node in usable)

    def capacity(self, workers: int | None) -> tuple[int, float]:
        """How many actors the nodes that are not refused should hold, and the share of a GPU for each."""
        cpus, gpus = int(self.total("CPU")), self.total("GPU")
        if gpus < 1:
            return min(workers or cpus, cpus), 0
        count = min(workers or int(gpus), cpus)
        return count, 1 if count <= gpus else int(1000 * gpus / count) / 1000

    def no_capacity(self, seconds: float) -> str:
        """Message for when no worker could be placed."""
        return (
            f"no worker could be placed for {seconds:g} s: the cluster has {self.total('CPU'):g} CPUs and "
            f"{self.total('GPU'):g} GPUs, and each worker needs a free CPU; finished units are kept, "
            "run the same command again when there is room"
        )

    def _save(self, record: dict[str, Any]) -> None:
        self._records.append(record)
        if self._supervision.logs is not None:
            with suppress(OSError):  # a full disk is reported where results are published
                self._supervision.logs.mkdir(parents=True, exist_ok=True)
                text = json.dumps(self._records, indent=1)
                (self._supervision.logs / "nodes.json").write_text(text, encoding="utf-8")


def alive_nodes() -> list[dict[str, Any]]:
    """Nodes that Ray considers alive."""
    return [node for node in ray.nodes() if node["Alive"]]


def host_of(node: str) -> str:
    """Host name of a node, or the start of its id where Ray does not know it."""
    names = (entry["NodeManagerHostname"] for entry in ray.nodes() if entry["NodeID"] == node)
    return next(names, node[:12])


def _differences(found: dict[str, str], expected: dict[str, str]) -> str:
    return ", ".join(
        f"{key} is {_short(found.get(key))} there and {_short(expected.get(key))} in this run"
        for key in sorted({*found, *expected})
        if found.get(key) != expected.get(key)
    )


def _short(value: str | None) -> str:
    if value is None:
        return "unknown"
    return f"{value[:12]}..." if len(value) == 64 else value  # a hash
