"""Triangles and rings of the mesh."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from datagen.faces import topology


def _edges(triangles: np.ndarray) -> Counter[frozenset[int]]:
    return Counter(frozenset((int(t[i]), int(t[i - 1]))) for t in triangles for i in range(3))


def test_triangles_are_a_face_with_three_openings():
    edges = _edges(topology.TRIANGLES)
    assert len(topology.TRIANGLES) == 852
    assert set(topology.TRIANGLES.ravel().tolist()) == set(range(468))
    assert max(edges.values()) == 2
    assert 468 - len(edges) + 852 == 1 - 3
    rings = [topology.FACE_OVAL, topology.RIGHT_EYE, topology.LEFT_EYE, topology.INNER_LIPS]
    border = {edge for edge, uses in edges.items() if uses == 1}
    assert border == {frozenset((int(ring[i]), int(ring[i - 1]))) for ring in rings for i in range(len(ring))}


def test_closing_triangles_leave_only_the_outline_open():
    everything = np.concatenate([topology.TRIANGLES, topology.CLOSING_TRIANGLES])
    edges = _edges(everything)
    assert len(everything) == 898
    assert 468 - len(edges) + 898 == 1
    assert sum(uses == 1 for uses in edges.values()) == len(topology.FACE_OVAL)


def test_triangles_and_rings_run_clockwise_on_the_screen(astronaut_landmarks: np.ndarray):
    flat = astronaut_landmarks[:, :2].astype(np.float64)

    def area(ring: np.ndarray) -> float:
        x, y = flat[ring].T
        return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2

    areas = np.array([area(triangle) for triangle in topology.TRIANGLES])
    assert (areas > 0).mean() > 0.95  # a few at the nostrils and the outline are folded even here
    assert areas.sum() == pytest.approx(
        area(topology.FACE_OVAL)
        - sum(map(area, (topology.RIGHT_EYE, topology.LEFT_EYE, topology.INNER_LIPS))),
        rel=1e-6,
    )
    for ring in (topology.RIGHT_BROW, topology.LEFT_BROW, topology.OUTER_LIPS):
        assert area(ring) > 0
