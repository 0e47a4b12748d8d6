"""Connected components, clusters of embeddings, and a test whether two videos share footage."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Node = tuple[str, str]
"""Kind and name of a node that links clips: a file, a group, a person ..."""

_BLOCK = 4096  # rows compared at once; bounds memory to 64 MB
_ROWS = 1024  # hashes compared at once


class Links:
    """A graph of nodes that belong together, and its connected components."""

    def __init__(self) -> None:
        self._numbers: dict[Node, int] = {}
        self._edges = array("q")

    def join(self, one: Node, other: Node) -> None:
        """Add an edge; nodes are added when they are first used."""
        for node in (one, other):
            self._edges.append(self._numbers.setdefault(node, len(self._numbers)))

    def components(self) -> Iterator[list[Node]]:
        """The nodes of each connected component."""
        labels = _components(np.array(self._edges, np.int64).reshape(-1, 2), len(self._numbers))
        members: defaultdict[int, list[Node]] = defaultdict(list)
        for node, label in zip(self._numbers, labels.tolist(), strict=True):
            members[label].append(node)
        yield from members.values()


def close_pairs(rows: np.ndarray, others: np.ndarray, distance: float) -> Iterator[np.ndarray]:
    """Index pairs (P, 2) of rows (N, D) and others (M, D) that are closer than a distance, block by block."""
    squares_M = (others * others).sum(axis=1)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        squares_B = (block * block).sum(axis=1)[:, None]
        for begin in range(0, len(others), _BLOCK):
            end = begin + _BLOCK
            squared = squares_B + squares_M[begin:end] - 2 * block @ others[begin:end].T
            pairs = np.argwhere(squared < distance * distance)
            if len(pairs):
                yield pairs + np.array((start, begin))


def cluster_labels(rows: np.ndarray, distance: float) -> np.ndarray:
    """Cluster label (N,) of each row (N, D); rows closer than a distance are in one cluster (single linkage)."""
    edges = [np.zeros((0, 2), np.int64)]
    for pairs in close_pairs(rows, rows, distance):
        edges.append(_forest(pairs, len(rows)))
    return _components(np.concatenate(edges), len(rows))


def same_footage(first: np.ndarray, second: np.ndarray, bits: int, run: int = 3) -> bool:
    """Whether two videos share footage.

    Args:
        first, second: uint64 frame hashes in the order of time.
        bits: two hashes agree if at most this many bits differ.
        run: consecutive hashes that must agree, at any offset; shorter videos share nothing.
    """
    for start in range(0, len(first) - run + 1, _ROWS):
        rows = first[start : start + _ROWS + run - 1]
        close = np.bitwise_count(rows[:, None] ^ second[None, :]) <= bits
        high, wide = len(rows) - run + 1, len(second) - run + 1
        if wide > 0 and np.all([close[k : k + high, k : k + wide] for k in range(run)], axis=0).any():
            return True
    return False


def _components(edges: np.ndarray, count: int) -> np.ndarray:
    graph = coo_matrix((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), (count, count))
    labels: np.ndarray = connected_components(graph, directed=False)[1]
    return labels


def _forest(pairs: np.ndarray, count: int) -> np.ndarray:
    """Fewer pairs with the same connected components: a block of one person's clips has millions of pairs."""
    nodes, compact = np.unique(pairs, return_inverse=True)
    labels = _components(compact.reshape(-1, 2), len(nodes))
    first = np.zeros(labels.max() + 1, np.int64)
    first[labels[::-1]] = nodes[::-1]
    return np.stack([nodes, first[labels]], axis=1)
