"""Random numbers that depend only on what is made, never on the worker or the time."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_of(*parts: int | str) -> int:
    """64-bit seed from a tuple such as (recipe seed, clip id, step)."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def keyed_rng(*parts: int | str) -> np.random.Generator:
    """Generator for one random choice, keyed by (recipe seed, clip id, step)."""
    return np.random.Generator(np.random.PCG64(seed_of(*parts)))
