"""An entry of the registry and the bytes of its file."""

from __future__ import annotations

import hashlib
from typing import Any

from datagen.weights.registry import Weight, WeightFile

BODY = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(BODY).hexdigest()


def entry(name: str = "thing", **changes: Any) -> Weight:
    values: dict[str, Any] = {
        "name": name,
        "title": "a thing",
        "used_by": "tests",
        "licence": "MIT",
        "commercial": "yes",
        "repo": "org/thing",
        "files": (WeightFile("sub/model.bin", len(BODY), DIGEST),),
    }
    return Weight(**(values | changes))
