"""A pool of five donors without pixels, and clips that choose from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from datagen.donors.donor import Donor
from datagen.donors.pool import Pool, PoolMember
from datagen.recipe import Recipe

YAWS = {"a": 30.0, "b": -30.0, "c": 10.0, "d": 0.0, "e": 5.0}


def donor(name: str, person: int) -> Donor:
    embedding = np.eye(128, dtype=np.float32)[person]
    return Donor(
        name, np.zeros((2, 2, 3), np.uint8), np.zeros((468, 3)), embedding, name, "CC0", "set", True, 1.0
    )


def pool(splits: str = "ttttt") -> Pool:
    members = [
        PoolMember(donor(name, number), {"t": "train", "v": "val"}[split], f"{name}.mp4", None, name)
        for number, (name, split) in enumerate(zip(YAWS, splits, strict=True))
    ]
    return Pool("w000", "0" * 64, tuple(members))


def row(number: int = 0, **values: Any) -> dict[str, Any]:
    found = {
        "clip_id": f"clip{number}-t0-f0", "rank": number, "split": "train", "source": f"{number}.mp4", "subject": None,
        "person": f"p{number}", "embedding": np.eye(128, dtype=np.float32)[100].tolist(),
    }  # fmt: skip
    return found | values


def offered(pool: Pool, recipe: Recipe, **values: Any) -> list[str]:
    clip = row(**values)
    clip["embedding"] = None if clip["embedding"] is None else np.asarray(clip["embedding"])
    names = ("clip_id", "rank", "split", "embedding", "source", "subject", "person")
    return [found.name for found, _ in pool.choose(*(clip[name] for name in names), recipe)]
