"""Pairs and chains of similar embeddings and frame hashes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from datagen.plan.links import close_pairs, cluster_labels, same_footage


def test_near_finds_all_pairs_in_blocks(monkeypatch):
    monkeypatch.setattr("datagen.plan.links._BLOCK", 3)
    rng = np.random.default_rng(0)
    rows, others = rng.normal(size=(10, 128)).astype(np.float32), rng.normal(size=(7, 128)).astype(np.float32)
    others[4] = rows[8] + 0.01
    assert [pairs.tolist() for pairs in close_pairs(rows, others, 0.45)] == [[[8, 4]]]


def test_alike_connects_chains_across_blocks(monkeypatch):
    monkeypatch.setattr("datagen.plan.links._BLOCK", 3)
    line = np.zeros((9, 128), np.float32)
    line[:, 0] = [
        0,
        10,
        0.3,
        20,
        0.6,
        10.3,
        0.9,
        30,
        1.2,
    ]  # five points in a chain, two near each other, two alone
    labels = cluster_labels(line, 0.45)
    assert len(set(labels[[0, 2, 4, 6, 8]])) == 1 and labels[1] == labels[5]
    assert len(set(labels)) == 4


codes = arrays(np.uint64, st.integers(0, 12), elements=st.integers(0, 2**64 - 1).map(np.uint64))


@given(first=codes, second=codes, bits=st.integers(0, 40), run=st.integers(1, 4))
def test_any_alignment_counts(first: np.ndarray, second: np.ndarray, bits: int, run: int) -> None:
    expected = any(
        all(int(first[i + k] ^ second[j + k]).bit_count() <= bits for k in range(run))
        for i in range(len(first) - run + 1)
        for j in range(len(second) - run + 1)
    )
    assert same_footage(first, second, bits, run) == expected


def test_long_videos_are_compared_piece_by_piece() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 2**64, 2500, np.uint64) for _ in range(2))
    assert not same_footage(first, second, 8)
    second[7:10] = first[1023:1026]  # across the edge of two pieces
    assert same_footage(first, second, 0)
    assert not same_footage(first, second, 0, run=4)
